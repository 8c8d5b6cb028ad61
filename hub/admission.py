"""Whether a client may connect, and as what. Pure. Source: streaming contract 9, 12 and 13."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bubu_wire.messages import BINDING_HEADER, PROTOCOL_HEADER, PROTOCOL_VERSION
from bubu_wire.metadata import Metadata
from bubu_wire.status import Status, StatusCode
from core.workloads.binding_token import TokenError, is_genuine, read_identity
from hub.topology import BindingName, Place, Topology, UnservedStep


@dataclass(frozen=True, slots=True)
class Admitted:
    """A client with a genuine token."""

    place: Place
    uid: str
    """Of its binding."""
    generation: int


def refusal_of_protocol(metadata: Metadata) -> Status | None:
    """Why a call does not speak our version of the protocol; None if it does."""
    if dict(metadata).get(PROTOCOL_HEADER) == PROTOCOL_VERSION:
        return None
    text = f"the header {PROTOCOL_HEADER} must be {PROTOCOL_VERSION}"
    return Status(StatusCode.FAILED_PRECONDITION, text)


def admit(
    metadata: Metadata, topology: Topology, keys: Sequence[bytes], generation_of: Callable[[Place], int]
) -> Admitted | Status:
    """The step that a client with this metadata of its Control call serves, or why it is refused.

    A token that is wrong or too old is refused for good (``FAILED_PRECONDITION``: an SDK ends its process). A binding
    that is not known is perhaps not known yet (``UNAVAILABLE``: an SDK tries again).

    Args:
        generation_of: the highest generation that has served a step; 0 if none has.
    """
    text = dict(metadata).get(BINDING_HEADER)
    if not isinstance(text, str):
        return _refused(f"the header {BINDING_HEADER} is missing")
    try:
        identity = read_identity(text)
    except TokenError as error:
        return _refused(str(error))
    name = BindingName(identity.namespace, identity.binding)
    known = topology.bindings.get(name) or topology.unserved.get(name)
    if known is None:
        return Status(StatusCode.UNAVAILABLE, f"the binding {name.namespace}/{name.name} is unknown to this hub")
    if not is_genuine(identity, known.uid, keys):
        return _refused(f"the token of the binding {name.namespace}/{name.name} is not valid")
    if isinstance(known, UnservedStep):
        return _refused(known.why) if known.is_final else Status(StatusCode.UNAVAILABLE, known.why)
    current = max(known.generation, generation_of(known.place))
    if identity.generation < current:
        return _refused(f"generation {identity.generation} was replaced by generation {current}")
    return Admitted(known.place, known.uid, identity.generation)


def _refused(text: str) -> Status:
    return Status(StatusCode.FAILED_PRECONDITION, text)
