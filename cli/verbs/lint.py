"""``lint``: what is wrong with manifests, before they are applied."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.builtfiles import is_python
from cli.completing import is_called
from cli.console import Console
from cli.exit_code import ExitCode
from cli.manifests import STDIN_NAME, texts
from cli.options import CommonOptions, with_common_options
from cli.problem import CommandError, UsageError
from core.api.objects import ReadOnlyObject
from core.api.resource import (
    CONFIG_MAP,
    EFFECT_CLAIM,
    ENGRAM,
    ENGRAM_TEMPLATE,
    IMPULSE,
    IMPULSE_TEMPLATE,
    REFERENCE_GRANT,
    SECRET,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    TRANSPORT,
    TRANSPORT_BINDING,
    Resource,
)
from core.api.text import text
from core.kube.errors import ForbiddenError, NotFoundError
from core.policy.config import parse_config
from core.policy.settings import OperatorSettings
from webhooks.cluster_view import ClusterView, InMemoryView, Unseen

if is_called():
    from cli import lintreport
    from cli.interruption import run_async
    from cli.linting import Document, Located, check, in_order, of_python, read_documents, sound, world_of_files
    from cli.pythonfiles import build
    from cli.secretnames import missing_secrets, needed_secrets
    from cli.session import Session, open_session


_FORMATS: Final = ("text", "json", "sarif", "github")


class FailOn(StrEnum):
    ERROR = "error"
    WARNING = "warning"


def register(app: typer.Typer) -> None:
    app.command("lint")(with_common_options(lint))


def lint(
    options: CommonOptions,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Manifests, folders or Python files; - reads stdin.")
    ],
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Also check references and settings against the cluster.")
    ] = False,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="The lowest severity that makes lint exit with 7.")
    ] = FailOn.ERROR,
) -> None:
    """Check manifests as admission does, all files together: every finding with its file, line and column.

    -o text, json, sarif (for code scanning) or github (annotations in a workflow). The exit code is 7 if there
    are errors, with --fail-on warning also if there are warnings. Without --cluster, references to objects outside the
    files are not checked.
    """
    form = "text" if options.output in ("table", "wide") else options.output
    if form not in _FORMATS:
        raise UsageError(f"lint has no output format {form!r}", remedy=f"use one of {', '.join(_FORMATS)}")
    python = [file for file in files if is_python(file)]
    described = of_python(run_async(options, lambda: build(python))) if python else []
    given = list(texts([file for file in files if file not in python]))
    documents, found = read_documents(given, {file for file, _ in given if file not in (*files, STDIN_NAME)})
    documents += described
    given += [(file, Path(file).read_text("utf-8")) for file in dict.fromkeys(each.file for each in described)]
    if not documents and not found:
        raise CommandError(
            f"no manifest in {', '.join(files)}", remedy="give a file with apiVersion, kind and metadata"
        )
    found += _of_cluster(options, documents) if cluster else _of_files(options, documents)
    findings = in_order(found, [file for file, _ in given])
    _report(options, form, findings, dict(given), len(documents))
    if any(fail_on is FailOn.WARNING or found.finding.severity.value == FailOn.ERROR for found in findings):
        raise typer.Exit(int(ExitCode.REJECTED))


def _of_files(options: CommonOptions, documents: list[Document]) -> list[Located]:
    return list(check(documents, world_of_files(documents, options.namespace), options.namespace))


def _of_cluster(options: CommonOptions, documents: list[Document]) -> list[Located]:
    async def work() -> tuple[Any, str]:
        async with open_session(options) as session:
            return await cluster_world(session, documents), session.namespace

    world, namespace = run_async(options, work)
    return list(check(documents, world, namespace))


def _report(options: CommonOptions, form: str, findings: list[Located], texts: dict[str, str], documents: int) -> None:

    console = Console(options)
    match form:
        case "json":
            console.result(lintreport.as_json(findings))
        case "sarif":
            console.result(lintreport.sarif(findings, version("bobrapet")))
        case "github":
            console.result(lintreport.github(findings))
        case _:
            lines = {file: text.split("\n") for file, text in texts.items()} if sys.stdout.isatty() else None
            console.result(lintreport.text(findings, console.styled, lines))
    totals = ", ".join(_counted(number, what[:-1]) for what, number in lintreport.counts(findings).items())
    console.note(f"{_counted(documents, 'document')} in {_counted(len(texts), 'file')}: {totals}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


_CONFIG: Final = ("bobrapet-system", "bobrapet-operator-config")
_NEEDED: Final[Mapping[str, tuple[Resource, ...]]] = {
    STORY.kind: (STORY, ENGRAM, ENGRAM_TEMPLATE, TRANSPORT, REFERENCE_GRANT),
    ENGRAM.kind: (ENGRAM_TEMPLATE,),
    IMPULSE.kind: (IMPULSE_TEMPLATE, STORY, REFERENCE_GRANT),
    STORY_RUN.kind: (STORY, IMPULSE, REFERENCE_GRANT),
    STORY_TRIGGER.kind: (STORY, IMPULSE, REFERENCE_GRANT),
    STEP_RUN.kind: (ENGRAM, STORY_RUN, REFERENCE_GRANT),
    EFFECT_CLAIM.kind: (STEP_RUN,),
    TRANSPORT_BINDING.kind: (TRANSPORT, STORY_RUN),
}
_MAX_DEPTH: Final = 12  # of a reference inside a spec


class _FilesAndCluster(InMemoryView):
    """Has all objects of the listed kinds and namespaces; all others are unknown."""

    def __init__(
        self,
        objects: Iterable[ReadOnlyObject],
        settings: OperatorSettings | None,
        namespace: str,
        looked_at: frozenset[tuple[Resource, str]],
        missing_secrets: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        super().__init__(objects, settings=settings, namespace=namespace)
        self._looked_at = looked_at
        self._missing_secrets = missing_secrets
        self._own = namespace

    def find(self, resource: Resource, namespace: str, name: str) -> ReadOnlyObject | Unseen:
        found = super().find(resource, namespace, name)
        place = (namespace or self._own) if resource.namespaced else ""
        if not isinstance(found, Unseen) or (resource, place) in self._looked_at:
            return found
        is_missing = resource == SECRET and (place, name) in self._missing_secrets
        return Unseen.MISSING if is_missing else Unseen.UNKNOWN


async def cluster_world(session: Session, documents: Sequence[Document]) -> ClusterView:
    """A view of the session's cluster and of the documents."""
    objects: list[ReadOnlyObject] = []
    looked_at: set[tuple[Resource, str]] = set()
    namespaces = {session.namespace, *_namespaces(documents)}
    kinds = (resource for document in documents for resource in _NEEDED.get(document.kind, ()))
    for resource in dict.fromkeys(kinds):
        for namespace in sorted(namespaces) if resource.namespaced else [""]:
            listed = await _listed(session, resource, namespace)
            if listed is not None:
                objects += listed
                looked_at.add((resource, namespace))
    objects += sound(documents, session.namespace)
    facts = objects, await _settings(session), session.namespace, frozenset(looked_at)
    wanted = set(_named_secrets(documents, session.namespace, _FilesAndCluster(*facts)))
    return _FilesAndCluster(*facts, await missing_secrets(session, wanted))


def _named_secrets(documents: Iterable[Document], namespace: str, world: ClusterView) -> Iterator[tuple[str, str]]:
    """Namespace and name of the Secrets that the documents name, themselves or by the Engrams of their steps."""
    for stored in sound(documents, namespace):
        place, spec = stored["metadata"].get("namespace") or namespace, stored.get("spec") or {}
        if stored["kind"] == STORY.kind:
            yield from ((place, each.name) for each in needed_secrets(stored, place, world))
        elif stored["kind"] in (ENGRAM.kind, IMPULSE.kind):
            yield from ((place, text(name)) for name in (spec.get("secrets") or {}).values())


async def _listed(session: Session, resource: Resource, namespace: str) -> list[ReadOnlyObject] | None:
    """None if the objects may not be listed, or are not served; a note tells the user."""
    try:
        items = (await session.client.list(resource, namespace or None)).items
    except (ForbiddenError, NotFoundError) as error:
        where = f" in namespace {namespace}" if namespace else ""
        session.console.note(f"references to {resource.kind}{where} are not checked: {error}")
        return None
    # The items of a list have no apiVersion and kind.
    return [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in items]


async def _settings(session: Session) -> OperatorSettings | None:
    """The operator's settings. None if they are unreadable; then limits are built-in, with no namespace policy."""
    namespace, name = _CONFIG
    try:
        config = await session.client.get(CONFIG_MAP, name, namespace)
    except NotFoundError:
        return OperatorSettings()
    except ForbiddenError as error:
        session.console.note(f"the operator's settings are not known, limits are the built-in ones: {error}")
        return None
    return parse_config(config.get("data") or {}).settings


def _namespaces(documents: Iterable[Document]) -> Iterator[str]:
    """Namespaces of the documents, and of the objects that they refer to."""
    for document in documents:
        if document.namespace:
            yield document.namespace
        if document.stored is not None and document.kind in _NEEDED:
            yield from _referred_to(document.stored.get("spec"), 0)


def _referred_to(value: Any, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, Mapping):
        namespace = value.get("namespace")
        if isinstance(namespace, str) and isinstance(value.get("name"), str) and _could_be(namespace):
            yield namespace
        for child in value.values():
            yield from _referred_to(child, depth + 1)
    elif isinstance(value, list):
        for child in value:
            yield from _referred_to(child, depth + 1)


def _could_be(namespace: str) -> bool:
    """Whether it is a valid name of a namespace; templates are not."""
    return 0 < len(namespace) <= 63 and namespace.replace("-", "a").isalnum() and namespace.isascii()
