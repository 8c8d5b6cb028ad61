"""What a command that looks at stored objects needs: the namespaces, the runs in them, and the objects page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

from cli.problem import CommandError
from cli.session import Session
from core.api.objects import Object
from core.api.resource import NAMESPACE, STEP_RUN, STORY_RUN, STORY_TRIGGER
from core.api.unreadable import why_unreadable
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.orphans import Owners
from core.payloads.place import StoredKind, StoredPlace, folders_of, place_of
from core.payloads.referred import keys_referred_to, reachable_from
from core.payloads.store import PAGE_OBJECTS, Store, StoredObject

OBJECT_BYTES: Final = 64 << 20
"""A larger object is not read to see what it refers to. The operator reads objects of up to 4 MiB."""

Page: TypeAlias = Sequence[tuple[StoredPlace, StoredObject]]


async def namespaces_of(session: Session) -> list[str]:
    """The namespaces of the flags."""
    if not session.options.all_namespaces:
        return [session.namespace]
    return sorted(each["metadata"]["name"] for each in (await session.client.list(NAMESPACE)).items)


async def pages(store: Store, namespace: str, kinds: Iterable[StoredKind]) -> AsyncIterator[Page]:
    """The objects of a namespace; only those whose key has the form of this system.

    Raises:
        StoreUnavailableError: see ``Store.page``.
    """
    for kind in kinds:
        folder, after = folders_of(namespace)[kind], ""
        while found := await store.page(folder, after=after, limit=PAGE_OBJECTS):
            after = found[-1].key
            placed = [(place_of(each.key, kind, namespace), each) for each in found]
            yield [(place, each) for place, each in placed if place is not None]


async def runs_of(session: Session, namespace: str) -> dict[str, str]:
    """By name of each StepRun and StoryRun: the name of the run."""
    runs = (await session.client.list(STORY_RUN, namespace, keep=_without_content)).items
    steps = (await session.client.list(STEP_RUN, namespace, keep=_without_content)).items
    own = {run["metadata"]["name"]: run["metadata"]["name"] for run in runs}
    return {step["metadata"]["name"]: _run_of(step) for step in steps} | own


async def owners_in(session: Session, namespace: str, store: Store) -> Owners:
    """What exists in the namespace now, and to which objects it refers, also by way of other objects.

    Raises:
        CommandError: an object of the API server or of the store cannot be read completely.
        StoreUnavailableError: see ``reachable_from``.
    """
    names, referred = set[str](), set[str]()
    for resource in (STORY_RUN, STEP_RUN, STORY_TRIGGER):
        for obj in (await session.client.list(resource, namespace)).items:
            name = obj["metadata"]["name"]
            if problem := why_unreadable(obj):
                text = f"it is unknown what {resource.kind} {namespace}/{name} refers to: {problem}"
                raise CommandError(text, remedy=f"delete that {resource.kind}, or correct it")
            if resource is not STORY_TRIGGER:
                names.add(name)
            referred |= keys_referred_to(obj)
    try:
        reached = await reachable_from(referred, store, namespace=namespace, object_bytes=OBJECT_BYTES)
    except PayloadError as error:
        raise CommandError(f"it is unknown what a stored object refers to: {error}") from error
    return Owners(frozenset(names), reached)


@contextmanager
def store_errors() -> Iterator[None]:
    """Errors of the store end the command."""
    try:
        yield
    except (StoreUnavailableError, PayloadError) as error:
        raise CommandError(str(error)) from error


def _without_content(obj: Object) -> Object:
    spec = obj.get("spec") or {}
    return {"metadata": {"name": obj["metadata"]["name"]}, "spec": {"storyRunRef": spec.get("storyRunRef")}}


def _run_of(step: Object) -> str:
    reference = step["spec"].get("storyRunRef")
    name = reference.get("name") if isinstance(reference, dict) else None
    return str(name or step["metadata"]["name"])
