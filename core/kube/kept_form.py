"""The form in which an informer keeps the objects of a kind: trimmed, and packed if they are large or at rest.

The functions that callers give for that may fail for an object of an unforeseen shape, which must not stop all others:
the error is logged, and the object is kept as if the function had not been given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from core.api.resource import Resource
from core.api.unreadable import why_unreadable
from core.kube import reading, remains
from core.kube.packed import Entry, Packer
from core.kube.store_key import key_of
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from kubewire import Object

_LOG: Final = get_logger("kube-informer")


class KeptForm:
    """Of one kind; the arguments are those of the informer."""

    def __init__(
        self,
        resource: Resource,
        *,
        trim: Callable[[Object], Object] | None = None,
        is_at_rest: Callable[[Object], bool] | None = None,
        rest_note: Callable[[Object], Any] | None = None,
    ) -> None:
        self._resource = resource
        self._trim = trim
        self._is_at_rest = is_at_rest
        self._rest_note = rest_note
        self.packer = Packer() if is_at_rest is None else Packer(self._rests, self._noted)

    def kept(self, obj: Object) -> tuple[Object, Entry]:
        """As readers see it, and as it is stored."""
        kept = self.trimmed(obj)
        try:
            return kept, self.packer.entry(kept)
        except TypeError:
            left = self.trimmed(remains.of_object(obj, reading.TOO_DEEP))
            return left, self.packer.entry(left)

    def kept_small(self, obj: Object) -> tuple[Object, Entry]:
        """Like ``kept``, for an object that is known to be small."""
        kept = self.trimmed(obj)
        return kept, self.packer.small_entry(kept)

    def trimmed(self, obj: Object) -> Object:
        if why := why_unreadable(obj):
            self._note_unreadable(obj, why)
        if self._trim is None:
            return obj
        try:
            return self._trim(obj)
        except Exception as error:  # noqa: BLE001 - an object of an unforeseen shape must not stop all others
            self.complain("trim failed; the object is kept whole", obj, error)
            return obj

    def complain_of_indexer(self, obj: Object, error: Exception) -> None:
        self.complain("indexer failed; the object is not indexed", obj, error)

    def _rests(self, obj: Object) -> bool:
        assert self._is_at_rest is not None
        try:
            return self._is_at_rest(obj)
        except Exception as error:  # noqa: BLE001 - an object of an unforeseen shape must not stop all others
            self.complain("is_at_rest failed; the object is kept as any other", obj, error)
            return False

    def _noted(self, obj: Object) -> Any:
        try:
            return None if self._rest_note is None else self._rest_note(obj)
        except Exception as error:  # noqa: BLE001 - an object of an unforeseen shape must not stop all others
            self.complain("rest_note failed; the object is read as a whole", obj, error)
            return None

    def _note_unreadable(self, obj: Object, why: str) -> None:
        key = key_of(obj)
        metrics.count(catalogue.OBJECTS_UNREADABLE, resource=self._resource.title)
        fields = {"resource": self._resource.title, "namespace": key.namespace, "name": key.name}
        _LOG.warning("a part of an object cannot be read", **fields, cause=why)

    def complain(self, message: str, obj: Object, error: Exception) -> None:
        key = key_of(obj)
        _LOG.error(message, error=error, resource=self._resource.title, namespace=key.namespace, name=key.name)
