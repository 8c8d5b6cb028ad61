"""Options of a request: frozen records, read from query strings and ``DeleteOptions`` bodies.

Pure. Unknown query parameters are ignored, as the real server does; bad values are refused with 400.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from localcluster.server import cause, errors
from localcluster.server.cause import Cause
from localcluster.server.identity import APISERVER, Identity
from localcluster.server.types import Object

MAX_FIELD_MANAGER_LENGTH: Final = 128


class FieldValidation(StrEnum):
    """What happens to fields that the schema does not know: dropped, dropped with a warning, or refused."""

    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


class Propagation(StrEnum):
    """What happens to the objects that a deleted object owns."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


def discard_warning(_: str) -> None:
    """Ignore a warning: for callers without a client."""


@dataclass(frozen=True)
class ListOptions:
    """Selection, page and freshness of a list, and the extra options of a watch. ``resource_version`` is as sent."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True)
class WriteOptions:
    """How to do a create, update or patch, and for which user."""

    user: Identity = APISERVER
    field_manager: str = ""
    field_validation: FieldValidation = FieldValidation.IGNORE
    dry_run: bool = False
    force: bool = False
    warn: Callable[[str], None] = field(default=discard_warning, compare=False)


@dataclass(frozen=True)
class Preconditions:
    """The object must still have this UID and this resource version."""

    uid: str | None = None
    resource_version: str | None = None


@dataclass(frozen=True)
class DeleteOptions:
    """How to do a delete; with ``grace_period_seconds`` None, the default of the kind applies."""

    user: Identity = APISERVER
    propagation: Propagation | None = None
    grace_period_seconds: int | None = None
    preconditions: Preconditions = Preconditions()
    dry_run: bool = False
    warn: Callable[[str], None] = field(default=discard_warning, compare=False)


def list_options(query: Mapping[str, str]) -> ListOptions:
    """Read the query string of a list or watch.

    Raises:
        StatusError: 400, a value cannot be read.
    """
    timeout = query.get("timeoutSeconds")
    initial = query.get("sendInitialEvents")
    return ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=_integer("limit", query.get("limit") or "0"),
        continue_token=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
        allow_bookmarks=_flag(query.get("allowWatchBookmarks")),
        send_initial_events=None if initial is None else _flag(initial),
        timeout_seconds=_integer("timeoutSeconds", timeout) if timeout else None,
    )


def write_options(
    kind: str, query: Mapping[str, str], user: Identity, warn: Callable[[str], None], agent: str
) -> WriteOptions:
    """Read the query string of a write; ``agent`` is the field manager if the query names none.

    Args:
        kind: ``CreateOptions``, ``UpdateOptions`` or ``PatchOptions``, for error messages.

    Raises:
        StatusError: 422, a value is not one of those allowed.
    """
    manager = query.get("fieldManager", "")
    if len(manager) > MAX_FIELD_MANAGER_LENGTH:
        raise _invalid(kind, cause.too_long("fieldManager", MAX_FIELD_MANAGER_LENGTH))
    if not manager.isprintable():
        raise _invalid(kind, cause.invalid("fieldManager", manager, "should only contain printable characters"))
    validation = query.get("fieldValidation") or FieldValidation.WARN
    if validation not in tuple(FieldValidation):
        raise _invalid(kind, cause.not_supported("fieldValidation", validation, ["", *sorted(FieldValidation)]))
    return WriteOptions(
        user=user,
        field_manager=manager or agent.split("/", 1)[0][:MAX_FIELD_MANAGER_LENGTH] or "unknown",
        field_validation=FieldValidation(validation),
        dry_run=_dry_run(kind, query.get("dryRun")),
        force=_flag(query.get("force")),
        warn=warn,
    )


def delete_options(
    query: Mapping[str, str], body: Object | None, user: Identity, warn: Callable[[str], None]
) -> DeleteOptions:
    """Read the ``DeleteOptions`` body of a delete, or its query string when there is no body.

    Raises:
        StatusError: 400, a value cannot be read.
    """
    fields: Mapping[str, Any] = body if body else query
    if body and body.get("kind") not in ("DeleteOptions", None):
        raise errors.bad_request(f'expected a body of kind "DeleteOptions", not {body["kind"]!r}')
    propagation = fields.get("propagationPolicy")
    if fields.get("orphanDependents") is not None and propagation is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        raise _invalid("DeleteOptions", cause.invalid("propagationPolicy", propagation, why))
    if fields.get("orphanDependents") is not None:
        orphan = fields["orphanDependents"] in (True, "true")
        propagation = Propagation.ORPHAN if orphan else Propagation.BACKGROUND
    if propagation is not None and propagation not in tuple(Propagation):
        supported = ["Foreground", "Background", "Orphan", "nil"]
        raise _invalid("DeleteOptions", cause.not_supported("propagationPolicy", propagation, supported))
    grace = fields.get("gracePeriodSeconds")
    wanted = fields.get("preconditions") or {}
    if not isinstance(wanted, Mapping):
        raise errors.bad_request("preconditions: expected an object")
    dry_run = fields.get("dryRun")
    return DeleteOptions(
        user=user,
        propagation=Propagation(propagation) if propagation else None,
        grace_period_seconds=None if grace in (None, "") else _integer("gracePeriodSeconds", grace),
        preconditions=Preconditions(wanted.get("uid"), wanted.get("resourceVersion")),
        dry_run=_dry_run("DeleteOptions", ",".join(dry_run) if isinstance(dry_run, list) else dry_run),
        warn=warn,
    )


def _integer(name: str, text: Any) -> int:
    try:
        value = int(text)
    except (TypeError, ValueError):
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if value < 0 and name != "gracePeriodSeconds":
        raise errors.bad_request(f"{name}: Invalid value: {value}: must be greater than or equal to 0")
    return value


def _flag(text: str | None) -> bool:
    """A boolean of a query, as apimachinery reads it: if the name is there, only ``false`` and ``0`` are false."""
    return text is not None and text.lower() not in ("false", "0")


def _dry_run(kind: str, text: str | None) -> bool:
    if not text:
        return False
    if text != "All":
        raise _invalid(kind, cause.not_supported("dryRun", [text], ["All"]))
    return True


def _invalid(kind: str, why: Cause) -> errors.StatusError:
    """422 for the options object for which the query stands."""
    return errors.invalid("meta.k8s.io", kind, "", [why])
