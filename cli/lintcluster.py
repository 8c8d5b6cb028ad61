"""The objects in the cluster that the files refer to, as a view for the validators.

Objects of the files replace those of the cluster. A kind that the user may not list is unknown, and references to it
are not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from cli.linting import Document, sound
from cli.secretnames import missing_secrets, needed_secrets
from cli.session import Session
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
