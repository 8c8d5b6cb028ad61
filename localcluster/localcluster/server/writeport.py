"""The dependencies of the write path, as small protocols: the shape of objects, admission, conversion.

The registry is built from these. So each can be tested with an in-memory adapter, and replaced without a change of the
write path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from localcluster.server.cause import Cause
from localcluster.server.identity import Identity
from localcluster.server.options import discard_warning
from localcluster.server.types import Object, ResourceType


@dataclass(frozen=True)
class AdmissionRequest:
    """One write, as admission sees it; ``obj`` is None for a delete, ``old`` for a create."""

    operation: str
    """``CREATE``, ``UPDATE``, ``DELETE`` or ``CONNECT``."""
    resource: ResourceType
    namespace: str | None
    name: str
    subresource: str
    obj: Object | None
    old: Object | None
    user: Identity
    dry_run: bool
    options: Object
    """The request's ``CreateOptions``, ``UpdateOptions``, ``PatchOptions`` or ``DeleteOptions``."""
    warn: Callable[[str], None] = field(default=discard_warning, compare=False)


class Admission(Protocol):
    """May change an object, then may refuse it."""

    async def mutate(self, request: AdmissionRequest) -> Object | None:
        """The object with which to continue (``request.obj`` when nothing changes).

        Raises:
            StatusError: the write is refused.
        """

    async def validate(self, request: AdmissionRequest) -> None:
        """Return when the write is allowed.

        Raises:
            StatusError: the write is refused.
        """


class Shape(Protocol):
    """The effect of a resource type's schema on its objects."""

    def prune(self, obj: Object, resource: ResourceType) -> list[str]:
        """Drop fields that the schema does not know, in place; returns their paths."""

    def apply_defaults(self, obj: Object, resource: ResourceType) -> None:
        """Fill in the defaults of the schema, in place."""

    def complete_created(self, obj: Object, resource: ResourceType) -> None:
        """Fill in what follows from a new object's own name and uid, in place."""

    def validate(self, obj: Object, old: Object | None, resource: ResourceType) -> list[Cause]:
        """Every reason to refuse the object."""


class Conversion(Protocol):
    """Converts objects between the versions of one kind."""

    async def convert(self, objects: Sequence[Object], resource: ResourceType, version: str) -> list[Object]:
        """The objects in ``version``; an object that already has it is returned itself.

        Raises:
            StatusError: the conversion webhook failed.
        """

    async def to_stored(self, obj: Object, resource: ResourceType) -> Object:
        """The object in its storage version; if it already has it, the object itself.

        Raises:
            StatusError: the conversion webhook failed.
        """
