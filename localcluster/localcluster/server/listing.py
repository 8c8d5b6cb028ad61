"""Lists: which objects, at which revision, in which pages.

Pure over a Collection. A page token names the revision and the last key, so all pages of one list show the same state,
even while writes go on. When that state is forgotten, the client gets the real server's 410 with a token for an
inconsistent continuation.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import orjson

from localcluster.server import cause, errors
from localcluster.server.cause import Cause
from localcluster.server.options import ListOptions
from localcluster.server.stored import Stored
from localcluster.server.watchcache import Collection

_TOO_OLD_TOKEN = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "  # noqa: S105 - an error text, not a secret
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
_BAD_TOKEN = "invalid continue token: continue key is not valid: {}"  # noqa: S105 - an error text, not a secret


@dataclass(frozen=True)
class Position:
    """The content of a page token; with ``revision`` None the list continues in the current state."""

    revision: int | None
    after: str


@dataclass(frozen=True)
class Candidates:
    """The objects that a list may show, before selectors, and their revision."""

    items: list[Stored]
    revision: int


def candidates(
    collection: Collection, current_revision: int, namespace: str | None, options: ListOptions
) -> Candidates:
    """The objects after the page token, at the revision that the options ask for.

    Raises:
        StatusError: 400 for contradicting options, 410 for a forgotten state, 504 for a future one.
    """
    wanted = _checked_revision(options, current_revision)
    if options.continue_token:
        position = read_token(options.continue_token)
        if position.revision is None:
            return Candidates(collection.select(namespace, after=position.after), current_revision)
        found = collection.select_at(position.revision, namespace, after=position.after)
        if found is None:
            raise _expired_token(position)
        return Candidates(found, position.revision)
    if wanted and options.resource_version_match == "Exact":
        found = collection.select_at(wanted, namespace)
        if found is None:
            raise errors.expired(f"The resourceVersion for the provided list is too old: {wanted}")
        return Candidates(found, wanted)
    return Candidates(collection.select(namespace), current_revision)


def read_revision(text: str, current_revision: int) -> int:
    """A ``resourceVersion`` parameter as a number; 0 when absent or "0".

    Raises:
        StatusError: 400, it is not a number; 504, this server has not reached it yet.
    """
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        why = cause.invalid("resourceVersion", text, f'strconv.ParseUint: parsing "{text}": invalid syntax')
        raise errors.bad_request(f"invalid resource version: {why}")
    if len(text) > 20 or int(text) > current_revision:
        raise errors.too_large_resource_version(int(text[:20]), current_revision)
    return int(text)


def write_token(revision: int | None, after: str) -> str:
    """The opaque string that a client sends to get the page after ``after``."""
    fields = {"v": "meta.k8s.io/v1", "rv": -1 if revision is None else revision, "start": after}
    return base64.urlsafe_b64encode(orjson.dumps(fields)).rstrip(b"=").decode()


def read_token(text: str) -> Position:
    """The position in a page token.

    Raises:
        StatusError: 400, this server did not write the token.
    """
    try:
        fields = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        revision, after = fields["rv"], fields["start"]
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise errors.bad_request(_BAD_TOKEN.format(error)) from None
    if not isinstance(revision, int) or not isinstance(after, str):
        raise errors.bad_request(_BAD_TOKEN.format("unexpected types"))
    return Position(None if revision < 0 else revision, after)


def _checked_revision(options: ListOptions, current_revision: int) -> int:
    match, text = options.resource_version_match, options.resource_version
    field = "resourceVersionMatch"
    if options.continue_token and match:
        raise _invalid(cause.forbidden(field, "resourceVersionMatch is forbidden when continue is provided"))
    if options.continue_token and text not in ("", "0"):
        raise errors.bad_request("specifying resource version is not allowed when using continue")
    if match and not text:
        raise _invalid(cause.forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if match not in ("", "Exact", "NotOlderThan"):
        raise _invalid(cause.not_supported(field, match, ["Exact", "NotOlderThan", ""]))
    if match == "Exact" and text == "0":
        raise _invalid(cause.forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    return read_revision(text, current_revision)


def _invalid(why: Cause) -> errors.StatusError:
    return errors.invalid("meta.k8s.io", "ListOptions", "", [why])


def _expired_token(position: Position) -> errors.StatusError:
    error = errors.expired(_TOO_OLD_TOKEN)
    error.status["metadata"] = {"continue": write_token(None, position.after)}
    return error
