"""The status of a TransportBinding. (hub/binding_status.py)"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.api.binding import TransportBindingStatus
from core.api.objects import Object
from hub.attendance import Attendance, LastRefusal
from hub.binding_status import StepTraffic, StreamState, is_edge, status_patch, wanted_status
from hub.client_refusal import ClientRefusal
from hub.rate import PerMinute
from hub.topology import Client
from tests.unit.hub.cluster_samples import ENDPOINT, transport_binding

SINCE = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
HERE = Attendance(is_connected=True, client=Client(2), connected_at=NOW)
GONE = Attendance(client=Client(2), connected_at=NOW, disconnected_at=LATER)
TRAFFIC = StepTraffic(5, 3, 2, 40, 1, ("keep",), "a packet was refused (invalid)", PerMinute(300, 180))


def stored(status: Object | None = None) -> Object:
    return {**transport_binding("ask", uid="u1"), **({"status": status} if status else {})}


def written(view: StreamState, status: Object | None = None, now: datetime = NOW) -> Object:
    found = wanted_status(stored(status), view, now)
    TransportBindingStatus.model_validate(found)
    return found


def ready(status: Object) -> tuple[str, str, str]:
    (condition,) = status["conditions"]
    return condition["status"], condition["reason"], condition["message"]


def test_a_step_that_nobody_serves_waits() -> None:
    status = written(StreamState(waits_for="the run waits for the bindings of b"))
    assert ready(status) == ("False", "AwaitingTransport", "the run waits for the bindings of b")
    assert (status["endpoint"], status["observedGeneration"]) == (ENDPOINT, 1)
    assert status["stream"] == {"connected": False, "drained": False}
    assert "negotiatedBinary" not in status


def test_a_step_that_is_served_is_ready_with_the_first_of_each_offer() -> None:
    status = written(StreamState(attendance=HERE, traffic=TRAFFIC))
    assert ready(status)[:2] == ("True", "TransportReady")
    assert status["negotiatedBinary"] == "text/plain"
    assert status["stream"] == {
        "connected": True,
        "drained": False,
        "generation": 2,
        "connectedAt": "2026-01-02T03:04:05Z",
        "received": 5,
        "delivered": 3,
        "receivedPerMinute": 300,
        "deliveredPerMinute": 180,
        "waiting": 2,
        "waitingPct": 40,
        "lost": 1,
        "pausedBy": ["keep"],
        "trouble": "a packet was refused (invalid)",
    }


def test_a_step_that_the_hub_itself_serves_says_so_and_not_that_a_client_does() -> None:
    jobs = replace(HERE, client=None, connected_at=None)
    status = written(StreamState(attendance=jobs, runs_jobs=True, traffic=TRAFFIC))
    assert ready(status) == ("True", "TransportReady", "the hub serves the step: it starts a Job for each packet")
    assert ready(written(StreamState(attendance=HERE)))[2] == "a client serves the step"
    waiting = written(StreamState(waits_for="the run waits for the bindings of b", runs_jobs=True))
    assert ready(waiting) == ("False", "AwaitingTransport", "the run waits for the bindings of b")


def test_a_run_that_cannot_be_served_is_an_invalid_configuration() -> None:
    status = written(StreamState(problem="fanIn: not supported", attendance=HERE))
    assert ready(status) == ("False", "InvalidConfiguration", "fanIn: not supported")


def test_what_was_known_stays_when_the_run_has_ended() -> None:
    before = written(StreamState(attendance=HERE, traffic=TRAFFIC))
    after = written(StreamState(attendance=GONE, is_drained=True), before, LATER)
    assert ready(after)[:2] == ("False", "AwaitingTransport")
    assert after["stream"]["received"] == 5
    assert after["stream"]["disconnectedAt"] == "2026-01-02T03:04:35Z"
    assert after["negotiatedBinary"] == "text/plain"
    assert after["stream"]["drained"] is True


def test_a_hub_that_has_started_again_says_that_nobody_is_connected_yet() -> None:
    before = written(StreamState(attendance=HERE, traffic=TRAFFIC))
    after = written(StreamState(waits_for="nobody"), before, LATER)
    assert after["stream"]["connected"] is False
    assert after["stream"]["disconnectedAt"] == "2026-01-02T03:04:35Z"


def test_fields_of_others_are_kept() -> None:
    other = {
        "type": "Other",
        "status": "True",
        "reason": "R",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = written(StreamState(waits_for="x"), {"upstreamHost": "peer", "conditions": [other]})
    assert status["upstreamHost"] == "peer"
    assert [condition["type"] for condition in status["conditions"]] == ["Other", "Ready"]


def test_a_patch_has_only_what_has_changed_and_names_the_binding() -> None:
    before = written(StreamState(attendance=HERE, traffic=TRAFFIC))
    binding = stored(before)
    assert status_patch(binding, written(StreamState(attendance=HERE, traffic=TRAFFIC), before, LATER), LATER) is None
    more = replace(TRAFFIC, received=6, trouble="")
    patch = status_patch(binding, written(StreamState(attendance=HERE, traffic=more), before, LATER), LATER)
    stream = {"received": 6, "trouble": None, "observedAt": "2026-01-02T03:04:35Z"}
    assert patch == {"metadata": {"uid": "u1"}, "status": {"stream": stream}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),
        ({"attendance": GONE}, True),
        ({"attendance": Attendance(is_connected=True, client=Client(3), connected_at=NOW)}, True),
        ({"is_drained": True}, True),
        ({"problem": "x"}, True),
        ({"traffic": StepTraffic(6, 4, trouble="first")}, True),
        ({"traffic": StepTraffic(6, 4, 0, 0, 0, ("b",))}, False),
    ],
)
def test_counts_are_no_edge(change: dict[str, Any], expected: bool) -> None:
    before = written(StreamState(attendance=HERE, traffic=StepTraffic(5)))
    after = written(StreamState(**{"attendance": HERE, "traffic": StepTraffic(5), **change}), before, LATER)
    assert is_edge(before, after) is expected


def test_why_a_step_waits_is_told_at_once() -> None:
    assert is_edge(written(StreamState(waits_for="a, b")), written(StreamState(waits_for="b")))
    assert is_edge(written(StreamState(problem="a")), written(StreamState(problem="b")))


def test_the_last_client_that_was_refused_is_shown_also_when_nobody_has_connected() -> None:
    refusal = LastRefusal(ClientRefusal.WRONG_TOKEN, "the token is not valid" + "x" * 1000, NOW)
    status = written(StreamState(waits_for="nobody", attendance=Attendance(refusal=refusal)))
    shown = status["stream"]["lastRefusal"]
    assert (shown["reason"], shown["at"], len(shown["message"])) == ("wrong_token", "2026-01-02T03:04:05Z", 256)
    assert status["stream"].keys() == {"connected", "drained", "lastRefusal"}


def test_the_first_refusal_is_an_edge_and_a_hub_that_has_started_again_keeps_it() -> None:
    """Strangers cause refusals: further ones may wait for the next report."""

    def refused(message: str, former: Object) -> Object:
        attendance = replace(HERE, refusal=LastRefusal(ClientRefusal.STALE_GENERATION, message, LATER))
        return written(StreamState(attendance=attendance, traffic=TRAFFIC), former, LATER)

    before = written(StreamState(attendance=HERE, traffic=TRAFFIC))
    after = refused("first", before)
    assert is_edge(before, after)
    assert not is_edge(after, refused("second", after))
    assert after["stream"]["trouble"] == before["stream"]["trouble"]
    again = written(StreamState(waits_for="nobody"), after, LATER)
    assert again["stream"]["lastRefusal"] == after["stream"]["lastRefusal"]


def test_trouble_is_short() -> None:
    status = written(StreamState(attendance=HERE, traffic=StepTraffic(trouble="x" * 1000)))
    assert len(status["stream"]["trouble"]) == 256
