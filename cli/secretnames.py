"""The Secrets that the steps of a Story need: named at the start, not when the step that needs one begins.

Only the metadata of a Secret is read, never its data. A Secret that the user may not read counts as existing, and so
does everything if the cluster answers slowly: the step would say it, as without this check.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import trio

from cli.runs import is_name
from cli.session import Session
from core.api.objects import Object, ReadOnlyObject
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, SECRET, STORY, Resource
from core.api.text import text
from core.kube.errors import KubeError, NotFoundError
from core.policy.borrowed import is_foreign
from webhooks.cluster_view import ClusterView, InMemoryView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import call, reference, steps, worker

MISSING: Final = Rule("cluster/secret-missing", "3.9", CauseType.NOT_FOUND, Severity.WARNING)

_PATIENCE_SECONDS: Final = 3.0
_MOST_LEVELS: Final = 10
"""Of Stories that call each other, as ``storyrun.max-story-depth`` allows by default."""
_MOST_STORIES: Final = 50
_AT_ONCE: Final = 8

_Place = tuple[Resource, str, str]  # resource, namespace and name


@dataclass(frozen=True, slots=True)
class NeededSecret:
    """A Secret of one step. ``path`` is that of the step, ``name`` is empty if nothing names a Secret that the template
    requires, and ``keys`` are those that the template expects.
    """

    path: str
    step: str
    logical: str
    namespace: str
    name: str
    keys: tuple[str, ...] = ()
    story: str = ""
    """Namespace and name of a Story that is called; empty for the one that is run."""

    @property
    def problem(self) -> str:
        if not self.name:
            return f"{self._where} needs a Secret for {self.logical!r}, and neither its Engram nor the step names one"
        return f"Secret {self.name!r}, which {self._where} needs, does not exist in namespace {self.namespace}"

    @property
    def _where(self) -> str:
        return f"step {self.step!r}{f' of Story {self.story}' if self.story else ''}"

    @property
    def remedy(self) -> str:
        if not self.name:
            return f"name one: secrets: {{{self.logical}: NAME}}"
        command = ["kubectl", "create", "secret", "generic", self.name, "--namespace", self.namespace]
        values = " ".join(f"--from-literal={shlex.quote(key)}=…" for key in self.keys or ("KEY",))
        return f"create it: {shlex.join(command)} {values}"


def needed_secrets(story: ReadOnlyObject, namespace: str, world: ClusterView) -> Iterator[NeededSecret]:
    """The Secrets of all steps whose Engram and template ``world`` knows; ``namespace`` is that of the run.

    As when a step runs, definitions of other namespaces name no Secret here, and only what the template declares
    counts.
    """
    own = (story.get("metadata") or {}).get("namespace") or namespace
    for placed in steps.every_step(story):
        template = worker.template_of(placed.declared, story, world)
        if isinstance(template, Unseen):
            continue
        engram = reference.find(reference.link(STORY, own, ENGRAM, placed.declared["ref"]), world)
        named: dict[str, str] = {}
        if not isinstance(engram, Unseen) and not is_foreign(engram, namespace):
            named |= (engram.get("spec") or {}).get("secrets") or {}
        if not is_foreign(story, namespace):
            named |= placed.declared.get("secrets") or {}
        for logical, definition in ((template.get("spec") or {}).get("secretSchema") or {}).items():
            declared = definition or {}
            name = text(named.get(logical))
            if name or declared.get("required") is True:
                keys = tuple(map(str, declared.get("expectedKeys") or ()))
                yield NeededSecret(placed.place, str(placed.declared.get("name")), logical, namespace, name, keys)


def findings(story: ReadOnlyObject, namespace: str, world: ClusterView) -> Iterator[Finding]:
    """A finding for each Secret that a step needs and that ``world`` knows to be missing."""
    for needed in needed_secrets(story, namespace, world):
        if not needed.name or world.find(SECRET, namespace, needed.name) is Unseen.MISSING:
            yield MISSING.at(needed.path, needed.problem, needed.remedy)


async def warn_of_missing(session: Session, story: Object) -> None:
    """Print a note for each Secret that is missing in the session's namespace, and that a step of the Story needs, or
    of a Story that it calls: their runs are in the same namespace.
    """
    namespace = session.namespace
    with trio.move_on_after(_PATIENCE_SECONDS):
        stories = [story, *await _called(session, story)]
        definitions = [each for one in stories for each in await _definitions(session, one)]
        world = InMemoryView(definitions, complete=False, namespace=namespace)
        needed = list(needed_secrets(story, namespace, world))
        for called in stories[1:]:
            where = "/".join(_place_of(called, namespace))
            needed += [replace(each, story=where) for each in needed_secrets(called, namespace, world)]
        missing = await missing_secrets(session, {(namespace, each.name) for each in needed if each.name})
        for each in needed:
            if not each.name or (namespace, each.name) in missing:
                session.console.note(f"warning: {each.problem} ({each.remedy})")


async def missing_secrets(session: Session, wanted: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Those of ``wanted``, namespace and name, that do not exist, as far as the user may know."""
    missing: set[tuple[str, str]] = set()
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def ask(namespace: str, name: str) -> None:
        try:
            async with limiter:
                await session.client.get_metadata(SECRET, name, namespace)
        except NotFoundError:
            missing.add((namespace, name))
        except KubeError:
            return

    async with trio.open_nursery() as nursery:
        for place in wanted:
            if is_name(place[1]):
                nursery.start_soon(ask, *place)
    return frozenset(missing)


async def _called(session: Session, story: Object) -> list[Object]:
    """The Stories that ``story`` calls, directly or not, each once, as far as they can be read."""
    level, found = [story], list[Object]()
    seen = {_place_of(story, session.namespace)}
    for _ in range(_MOST_LEVELS - 1):
        wanted = [place for each in level for place in call.targets(each, _place_of(each, session.namespace)[0])]
        new = [place for place in dict.fromkeys(wanted) if place not in seen][: _MOST_STORIES - len(seen)]
        if not new:
            break
        seen.update(new)
        level = await _read(session, [(STORY, *place) for place in new])
        found += level
    return found


def _place_of(story: Object, namespace: str) -> tuple[str, str]:
    metadata = story.get("metadata") or {}
    return metadata.get("namespace") or namespace, str(metadata.get("name") or "")


async def _definitions(session: Session, story: Object) -> list[Object]:
    """The Engrams of the Story's steps and their templates, as far as they exist and the user may read them."""
    own = (story.get("metadata") or {}).get("namespace") or session.namespace
    refs = [
        reference.link(STORY, own, ENGRAM, placed.declared["ref"])
        for placed in steps.every_step(story)
        if placed.declared.get("ref")
    ]
    engrams = await _read(session, {(ENGRAM, link.namespace, link.name) for link in refs})
    templates = ((each.get("spec") or {}).get("templateRef") or {} for each in engrams)
    return engrams + await _read(session, {(ENGRAM_TEMPLATE, "", text(each.get("name"))) for each in templates})


async def _read(session: Session, places: Iterable[_Place]) -> list[Object]:
    found: list[Object] = []
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def read(resource: Resource, namespace: str, name: str) -> None:
        try:
            async with limiter:
                found.append(await session.client.get(resource, name, namespace or None))
        except KubeError:
            return

    async with trio.open_nursery() as nursery:
        for place in places:
            if is_name(place[2]):
                nursery.start_soon(read, *place)
    return found
