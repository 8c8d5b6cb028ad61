"""Which client may serve which step, and the reason of each refusal. (hub/admission.py)"""

from __future__ import annotations

from typing import Final

import pytest

from bubu_wire.messages import ACCEPTED_HEADER, BINDING_HEADER, PROCESS_HEADER, PROTOCOL_HEADER
from bubu_wire.status import StatusCode
from core.api.objects import NamespacedName
from hub.admission import Admitted, admit, refusal_of_protocol
from hub.client_refusal import ClientRefusal, Refused
from hub.topology import BoundStep, Client, Place, Topology, UnservedStep
from tests.unit.hub.stand import KEY, RUN, binding_of, identity

ECHO: Final = Place(RUN, "echo")


def asked(
    binding: str | None,
    *,
    generation: int = 1,
    served: int = 0,
    is_finished: bool = False,
    process: str = "",
    accepted: str = "",
) -> Admitted | Refused:
    """``echo`` is served from ``generation`` on; ``waits`` is not yet, and ``wrong`` never."""
    unserved = {"waits": UnservedStep("uid-waits", "no Story"), "wrong": UnservedStep("uid-wrong", "no step", True)}
    topology = Topology(
        bindings={
            NamespacedName("team", binding_of(RUN, "echo")): BoundStep(ECHO, "uid-echo", generation, is_finished)
        },
        unserved={NamespacedName("team", binding_of(RUN, step)): each for step, each in unserved.items()},
    )
    metadata = ((BINDING_HEADER, binding),) if binding is not None else ()
    said = ((PROCESS_HEADER, process), (ACCEPTED_HEADER, accepted))
    return admit((*metadata, *said), topology, [KEY], lambda place: served if place == ECHO else 0)


def test_a_genuine_token_of_a_step_that_is_served_is_admitted() -> None:
    assert asked(identity("echo")) == Admitted(ECHO, "uid-echo", Client(1))
    assert asked(identity("echo", generation=3), generation=2, served=2) == Admitted(ECHO, "uid-echo", Client(3))


@pytest.mark.parametrize(
    ("said", "known"), [("1b2c3d", "1b2c3d"), ("", ""), ("a b", ""), ("x" * 33, ""), ("x" * 32, "x" * 32)]
)
def test_what_a_client_says_of_its_process_is_short(said: str, known: str) -> None:
    assert asked(identity("echo"), process=said) == Admitted(ECHO, "uid-echo", Client(1, known))


@pytest.mark.parametrize(
    ("said", "known"), [("0", 0), ("17", 17), ("", None), ("-1", None), ("1.5", None), ("²", None), ("9" * 33, None)]
)
def test_a_client_that_keeps_its_packets_says_how_many_are_accepted(said: str, known: int | None) -> None:
    assert asked(identity("echo"), accepted=said) == Admitted(ECHO, "uid-echo", Client(1), known)


@pytest.mark.parametrize(
    ("given", "reason", "code", "place"),
    [
        (asked(None), ClientRefusal.MALFORMED_TOKEN, StatusCode.FAILED_PRECONDITION, None),
        (asked("team/run-1"), ClientRefusal.MALFORMED_TOKEN, StatusCode.FAILED_PRECONDITION, None),
        (asked(identity("gone")), ClientRefusal.UNKNOWN_BINDING, StatusCode.UNAVAILABLE, None),
        (asked(identity("echo", key=bytes(32))), ClientRefusal.WRONG_TOKEN, StatusCode.FAILED_PRECONDITION, ECHO),
        (asked(identity("waits", key=bytes(32))), ClientRefusal.WRONG_TOKEN, StatusCode.FAILED_PRECONDITION, None),
        (asked(identity("waits")), ClientRefusal.NOT_SERVED, StatusCode.UNAVAILABLE, None),
        (asked(identity("wrong")), ClientRefusal.UNSERVABLE, StatusCode.FAILED_PRECONDITION, None),
        (asked(identity("echo"), generation=2), ClientRefusal.STALE_GENERATION, StatusCode.FAILED_PRECONDITION, ECHO),
        (asked(identity("echo"), is_finished=True), ClientRefusal.UNSERVABLE, StatusCode.FAILED_PRECONDITION, ECHO),
        (asked(identity("echo"), served=2), ClientRefusal.STALE_GENERATION, StatusCode.FAILED_PRECONDITION, ECHO),
    ],
)
def test_a_refusal_has_its_reason_and_the_step_if_its_condition_does_not_say_why(
    given: Admitted | Refused, reason: ClientRefusal, code: StatusCode, place: Place | None
) -> None:
    assert isinstance(given, Refused)
    assert (given.reason, given.status.code, given.place) == (reason, code, place)


def test_another_protocol_is_refused() -> None:
    assert refusal_of_protocol(((PROTOCOL_HEADER, "1.0.0"),)) is None
    refused = refusal_of_protocol(((PROTOCOL_HEADER, "2.0.0"),))
    assert refused is not None
    assert refused.reason is ClientRefusal.PROTOCOL
