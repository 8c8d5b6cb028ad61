"""A kind that the operator watches: its selected objects, the kept part of each, and its indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from core.api.objects import Object
from core.api.permission import Permission
from core.api.resource import Resource
from core.kube.client import KubeClient
from core.kube.informer import Informer
from core.kube.store import Indexer

_LIVE: Final = "The operator decides from objects that its watches deliver; it does not poll."


def slim(obj: Object) -> Object:
    """Without ``managedFields``, which nothing here reads and which can be half of an object."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class WatchedKind:
    """One informer for all readers of the kind, or of a subset of it; the stored version is watched."""

    resource: Resource
    indexes: Mapping[str, Indexer] = field(default_factory=dict)
    """Name → function from an object to the values that it is found under."""
    label_selector: str | None = None
    trim: Callable[[Object], Object] = slim
    """Returns the part of an object to keep. Validators read the project's kinds from here, so they need the spec."""
    is_at_rest: Callable[[Object], bool] | None = None
    """Whether an object will hardly be read again: such objects take little memory, and longer to read."""
    rest_note: Callable[[Object], Any] | None = None
    """Returns the part of an object at rest that can be had without reading it; see ``Informer``."""
    why: str = _LIVE
    """Why the operator may list and watch the kind."""

    @property
    def permission(self) -> Permission:
        return Permission(replace(self.resource, subset=""), ("list", "watch"), self.why)

    def informer(self, client: KubeClient) -> Informer:
        """A new informer, not running yet."""
        return Informer(
            client,
            self.resource,
            label_selector=self.label_selector,
            indexers=self.indexes,
            trim=self.trim,
            is_at_rest=self.is_at_rest,
            rest_note=self.rest_note,
        )


def merged(kinds: Iterable[WatchedKind]) -> tuple[WatchedKind, ...]:
    """One record per kind, with all indexes of those that declare it, in the order in which the kinds first appear.

    Raises:
        ValueError: two declarations of a kind contradict each other.
    """
    found: dict[Resource, WatchedKind] = {}
    for kind in kinds:
        known = found.setdefault(kind.resource, kind)
        found[kind.resource] = replace(
            known,
            indexes={**known.indexes, **kind.indexes},
            is_at_rest=known.is_at_rest or kind.is_at_rest,
            rest_note=known.rest_note or kind.rest_note,
        )
        same = (known.label_selector, known.trim) == (kind.label_selector, kind.trim)
        if not same or any(known.indexes.get(name, indexer) is not indexer for name, indexer in kind.indexes.items()):
            raise ValueError(
                f"{kind.resource.title} is declared twice, with different selectors, trims or indexes of one name; "
                "all who read a kind share one informer"
            )
    return tuple(found.values())
