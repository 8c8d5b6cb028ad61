"""One write to the API server, with the objects around it; printed as YAML that ``bobrapet lint`` reads."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from core.api.objects import Object
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from webhooks.caller import Caller
from webhooks.cluster_view import InMemoryView
from webhooks.finding import Finding, errors_among
from webhooks.validate import admission, author, status

CORPUS: Final = Path(__file__).parent.parent / "corpus" / "admission"
"""Cases that once failed: the printed YAML, with the reason as text above it."""


@dataclass(frozen=True, repr=False)
class Case:
    """One write, and the objects that exist before it.

    Attributes:
        new: the object to be stored.
        old: the stored object; ``None`` if the write creates it.
        objects: all other objects that exist.
        caller: the user who writes the status; ``None`` if the object itself is written.
        author: the user who writes the object itself; ``None`` if the author is not checked, as in lint.
    """

    new: Object
    old: Object | None = None
    objects: tuple[Object, ...] = ()
    policy: CrossNamespacePolicy = CrossNamespacePolicy.DENY
    caller: Caller | None = None
    author: Caller | None = None

    @property
    def settings(self) -> OperatorSettings:
        return OperatorSettings(cross_namespace_policy=self.policy)

    def world(self, *, complete: bool = True) -> InMemoryView:
        """The view of the cluster; or the view of lint, which knows neither other objects nor the settings."""
        return InMemoryView(self.objects, settings=self.settings if complete else None, complete=complete)

    def findings(self, *, complete: bool = True) -> list[Finding]:
        """The findings of admission about this write."""
        if self.caller is not None:
            return status.validate(self.new, self.old or {}, self.caller, self.world(complete=complete))
        world = self.world(complete=complete)
        found = admission.validate(self.new, self.old, world)
        return found + (author.validate(self.new, self.old, self.author, world) if self.author is not None else [])

    def errors(self) -> list[str]:
        return [f"{finding.rule.id} {finding}" for finding in errors_among(self.findings())]

    def copied(self) -> Case:
        """A copy in which everything may be changed."""
        return replace(
            self, new=copy.deepcopy(self.new), old=copy.deepcopy(self.old), objects=copy.deepcopy(self.objects)
        )

    def _repr_pretty_(self, printer: Any, _is_cycle: bool) -> None:
        """The text that Hypothesis prints."""
        printer.text(repr(self))

    def __repr__(self) -> str:
        """The case as YAML; the parts that lint cannot read are comments."""
        lines = [f"# references.cross-namespace-policy: {self.policy.value}"]
        if self.caller is not None:
            lines.append(f"# the status is written by: {self.caller}")
        if self.author is not None:
            lines.append(f"# it is written by: {self.author}")
        if self.old is not None:
            lines += ["# stored before:", *(f"#   {line}" for line in _yaml(self.old).splitlines())]
        documents = [_yaml(document) for document in (self.new, *self.objects)]
        return "\n" + "\n".join(lines) + "\n" + "---\n".join(documents)


def read(path: Path) -> Case:
    """Reads a case of the corpus: the first document is written, the others exist. ``# stored before`` is not read."""
    text = path.read_text(encoding="utf-8")
    new, *objects = YAML(typ="safe", pure=True).load_all(text)
    words = (line.partition("cross-namespace-policy:")[2].strip() for line in text.splitlines() if line[:1] == "#")
    return Case(new, None, tuple(objects), CrossNamespacePolicy(next(filter(None, words), "deny")))


def told_in(path: Path) -> list[str]:
    """The expected findings of a case of the corpus: rule and path of each, from its ``# told:`` lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("# told:").strip() for line in lines if line.startswith("# told:")]


def _yaml(document: Object) -> str:
    stream = io.StringIO()
    _writer().dump(document, stream)
    return stream.getvalue()


@cache
def _writer() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.representer.ignore_aliases = lambda _data: True
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # the library declares its default only
    return yaml
