"""The table of rules, one file per kind. Each rule has an object that obeys it and one that breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from core.policy.settings import CrossNamespacePolicy, OperatorSettings, ScriptSettings
from kubewire import apply_merge_patch
from webhooks.caller import Caller
from webhooks.cluster_view import InMemoryView
from webhooks.finding import Finding
from webhooks.validate import admission, author, status

TABLES = sorted((Path(__file__).parent / "rules").glob("*.yaml"))


@dataclass(frozen=True)
class Case:
    """One line of a table. For rules on updates, ``old`` is the stored object."""

    rule: str
    section: str
    path: str
    message: str
    accepted: dict[str, Any]
    refused: dict[str, Any]
    old: dict[str, Any] | None
    objects: tuple[dict[str, Any], ...]
    """The other objects in the cluster."""
    policy: CrossNamespacePolicy
    caller: Caller | None
    """The user who writes the status. None: the object itself is written."""
    author: Caller | None = None
    """The user who writes the object. None: nothing is asked about the user."""
    images: tuple[str, ...] = ()
    """The images of script steps."""
    row: str = ""
    """The row of an acceptance checklist that the case belongs to (``tests/acceptance/trigger_rows.py``)."""

    @property
    def world(self) -> InMemoryView:
        scripts = ScriptSettings(self.images)
        settings = OperatorSettings(cross_namespace_policy=self.policy, scripts=scripts)
        return InMemoryView(self.objects, settings=settings)

    def findings(self, new: dict[str, Any], world: InMemoryView | None = None) -> list[Finding]:
        """Findings about the object; with a ``caller``, about its status."""
        if self.caller is not None:
            return status.validate(new, self.old or {}, self.caller, world or self.world)
        found = admission.validate(new, self.old, world or self.world)
        return found + (author.validate(new, self.old, self.author, world or self.world) if self.author else [])


@cache
def cases() -> list[Case]:
    return [case for table in TABLES for case in _cases(YAML(typ="safe").load(table))]


def _cases(table: dict[str, Any]) -> Iterator[Case]:
    base = table["base"]
    for line in table["cases"]:
        policy = CrossNamespacePolicy(line.get("settings", "deny"))
        yield Case(
            line["rule"],
            line["section"],
            line["path"],
            line.get("message", ""),
            apply_merge_patch(base, _written_out(line["accepted"])),
            apply_merge_patch(base, _written_out(line["refused"])),
            apply_merge_patch(base, _written_out(line["old"])) if "old" in line else None,
            tuple(table["worlds"][line.get("world", "plain")]),
            policy,
            Caller(**line["caller"]) if "caller" in line else None,
            Caller(**line["author"]) if "author" in line else None,
            tuple(line.get("images", ())),
            line.get("row", ""),
        )


def _written_out(value: Any) -> Any:
    """Replace ``{letters: n}`` and similar objects by the long values that they stand for."""
    match value:
        case {"letters": int(count)}:
            return "x" * count
        case {"written": int(count)}:
            return list(range(count))
        case {"blanks": int(count)}:
            return {f"b{index}": " " for index in range(count)}
        case {"nested": int(count)}:
            return {"a": _written_out({"nested": count - 1})} if count else {}
        case {"patterned": int(count)}:
            return {"properties": {f"p{index}": {"pattern": f"^[a-z]{{1,{index + 9}}}$"} for index in range(count)}}
        case {"branches": int(count)}:
            inner = _written_out({"branches": count - 1}) if count else {"name": "inner", "type": "stop"}
            return {"name": f"p{count}", "type": "parallel", "with": {"steps": [inner]}} if count else inner
        case dict():
            return {key: _written_out(child) for key, child in value.items()}
        case list():
            return [_written_out(child) for child in value]
        case _:
            return value
