"""Whether a client may connect, and as what. Pure. Source: streaming contract 9, 12 and 13."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bubu_wire.messages import ACCEPTED_HEADER, BINDING_HEADER, PROCESS_HEADER, PROTOCOL_HEADER, PROTOCOL_VERSION
from bubu_wire.metadata import Metadata
from bubu_wire.status import Status, StatusCode
from core.api.objects import NamespacedName
from core.workloads.binding_token import TokenError, is_genuine, read_identity
from hub.client_refusal import ClientRefusal, Refused
from hub.topology import BoundStep, Client, Place, Topology, UnservedStep

MAX_PROCESS: Final = 32
"""Characters that a client may say of its process."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A client with a genuine token."""

    place: Place
    uid: str
    """Of its binding."""
    client: Client
    accepted: int | None = None
    """How many packets its process knows as accepted; None: it does not keep them until they are."""


def refusal_of_protocol(metadata: Metadata) -> Refused | None:
    """Why a call does not speak our version of the protocol; None if it does."""
    if dict(metadata).get(PROTOCOL_HEADER) == PROTOCOL_VERSION:
        return None
    text = f"the header {PROTOCOL_HEADER} must be {PROTOCOL_VERSION}"
    return _refused(ClientRefusal.PROTOCOL, text)


def admit(
    metadata: Metadata, topology: Topology, keys: Sequence[bytes], generation_of: Callable[[Place], int]
) -> Admitted | Refused:
    """The step that a client with this metadata of its Control call serves, or why it is refused.

    A token that is wrong or too old is refused for good (``FAILED_PRECONDITION``: an SDK ends its process). A binding
    that is not known is perhaps not known yet (``UNAVAILABLE``: an SDK tries again).

    Args:
        generation_of: the highest generation that has served a step; 0 if none has.
    """
    text = dict(metadata).get(BINDING_HEADER)
    if not isinstance(text, str):
        return _refused(ClientRefusal.MALFORMED_TOKEN, f"the header {BINDING_HEADER} is missing")
    try:
        identity = read_identity(text)
    except TokenError as error:
        return _refused(ClientRefusal.MALFORMED_TOKEN, str(error))
    name = NamespacedName(identity.namespace, identity.binding)
    known = topology.bindings.get(name) or topology.unserved.get(name)
    if known is None:
        text = f"the binding {name.namespace}/{name.name} is unknown to this hub"
        return Refused(ClientRefusal.UNKNOWN_BINDING, Status(StatusCode.UNAVAILABLE, text))
    place = known.place if isinstance(known, BoundStep) else None
    if not is_genuine(identity, known.uid, keys):
        text = f"the token of the binding {name.namespace}/{name.name} is not valid"
        return _refused(ClientRefusal.WRONG_TOKEN, text, place)
    if isinstance(known, UnservedStep):
        if known.is_final:
            return _refused(ClientRefusal.UNSERVABLE, known.why)
        return Refused(ClientRefusal.NOT_SERVED, Status(StatusCode.UNAVAILABLE, known.why))
    current = max(known.generation, generation_of(known.place))
    if identity.generation < current:
        text = f"generation {identity.generation} was replaced by generation {current}"
        return _refused(ClientRefusal.STALE_GENERATION, text, known.place)
    if known.is_finished:
        return _refused(ClientRefusal.UNSERVABLE, "the step has finished", known.place)
    return Admitted(known.place, known.uid, Client(identity.generation, _process(metadata)), _accepted(metadata))


def _process(metadata: Metadata) -> str:
    word = dict(metadata).get(PROCESS_HEADER)
    return word if isinstance(word, str) and word.isalnum() and len(word) <= MAX_PROCESS else ""


def _accepted(metadata: Metadata) -> int | None:
    word = dict(metadata).get(ACCEPTED_HEADER)
    is_number = isinstance(word, str) and word.isascii() and word.isdigit() and len(word) <= MAX_PROCESS
    return int(word) if is_number and isinstance(word, str) else None


def _refused(reason: ClientRefusal, text: str, place: Place | None = None) -> Refused:
    """For good: the client need not try again."""
    return Refused(reason, Status(StatusCode.FAILED_PRECONDITION, text), place)
