"""Whether a hub is there, by its Lease. (core/workloads/hub_lease.py)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bubu_contract.instants import format_instant, format_precise_instant
from core.api.objects import Object
from core.workloads.hub_lease import HUB_LEASE, HubHeartbeat, HubLease, HubSilence
from deployment.permissions.names import HUB_LEASE_NAME
from manager import cluster_hub

WALL = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
TIMEOUT = timedelta(minutes=2)
NEVER = float("inf")


def lease(at: float, *, holder: str = "hub-1", lasts: object = 60) -> Object:
    """Renewed ``at`` seconds after ``WALL``, by the clock of the hub."""
    renewed = format_precise_instant(WALL + timedelta(seconds=at))
    return {"spec": {"holderIdentity": holder, "leaseDurationSeconds": lasts, "renewTime": renewed}}


class Trial:
    """A process that began at 1000 on its own clock."""

    def __init__(self) -> None:
        self.heartbeat = HubHeartbeat()

    def see(self, found: Object | None, at: float) -> None:
        self.heartbeat.see(found, 1000 + at, WALL + timedelta(seconds=at), TIMEOUT)

    def pass_by(self, at: float) -> None:
        """The hub is due, and the API server says that it has not renewed."""
        assert 1000 + at >= self.heartbeat.due(TIMEOUT)
        self.heartbeat.lose(WALL + timedelta(seconds=at))

    def silence(self) -> HubSilence | None:
        return self.heartbeat.silence

    @property
    def due(self) -> float:
        return self.heartbeat.due(TIMEOUT) - 1000


def test_hub_operator_and_commands_mean_the_same_lease() -> None:
    assert HUB_LEASE == cluster_hub.LEASE == HUB_LEASE_NAME


def test_each_renewal_moves_the_time_at_which_the_hub_is_due() -> None:
    trial = Trial()
    trial.see(lease(0), 0)
    assert trial.due == 120
    trial.see(lease(5), 5.5)
    assert trial.due == 125.5
    trial.see(lease(5, holder="", lasts=1), 9)
    assert trial.due == 125.5, "a release is no renewal"


def test_a_hub_is_lost_from_its_last_renewal_on_and_back_when_it_has_renewed_twice() -> None:
    trial = Trial()
    trial.see(lease(0), 0)
    trial.see(lease(5), 5)
    trial.pass_by(125)
    assert trial.silence() == HubSilence(WALL + timedelta(seconds=5))
    assert trial.due == NEVER
    trial.see(lease(300), 301)
    back_at = WALL + timedelta(seconds=300)
    assert trial.silence() == HubSilence(WALL + timedelta(seconds=5), back_at)
    trial.see(lease(305), 306)
    assert trial.silence() is None
    assert trial.due == 426


def test_a_hub_that_dies_after_its_first_renewal_is_still_lost() -> None:
    trial = Trial()
    trial.see(lease(0), 0)
    trial.pass_by(120)
    trial.see(lease(300), 300)
    trial.pass_by(420)
    assert trial.silence() == HubSilence(WALL + timedelta(seconds=300))
    trial.see(lease(900), 900)
    assert trial.silence() is not None


def test_a_process_that_starts_knows_a_dead_hub_at_once() -> None:
    trial = Trial()
    trial.see(lease(-600), 0)
    assert trial.silence() == HubSilence(WALL - timedelta(seconds=600))
    younger = Trial()
    younger.see(lease(-30), 0)
    assert (younger.silence(), younger.due) == (None, 90)


def test_the_clock_of_the_hub_does_not_count_while_its_lease_is_followed() -> None:
    trial = Trial()
    trial.see(lease(3600), 0)
    assert trial.due == 120
    trial.see(lease(-3600), 5)
    assert (trial.silence(), trial.due) == (None, 125)


def test_nobody_judges_before_the_lease_itself_is_over() -> None:
    trial = Trial()
    trial.see(lease(0, lasts=300), 0)
    assert trial.due == 300


def test_without_a_lease_nothing_is_known() -> None:
    trial = Trial()
    assert trial.due == NEVER
    trial.see(lease(-600), 0)
    trial.see(None, 1)
    assert (trial.silence(), trial.due) == (None, NEVER)


def test_a_damaged_lease_is_read_as_far_as_it_goes() -> None:
    assert HubLease.of({}) == HubLease.of({"spec": {"renewTime": 7, "leaseDurationSeconds": "x"}})
    trial = Trial()
    trial.see({"spec": {"renewTime": "long ago"}}, 0)
    trial.pass_by(120)
    assert trial.silence() == HubSilence(WALL + timedelta(seconds=120))


def observed(at: float) -> Object:
    """``status.stream``, as it was written so many seconds after ``WALL``; the hub writes whole seconds."""
    return {"observedAt": format_instant(WALL + timedelta(seconds=at))}


def test_what_the_next_hub_has_written_counts_before_its_second_renewal() -> None:
    lost = HubSilence(WALL)
    assert lost.covers(observed(500))
    back = HubSilence(WALL, WALL + timedelta(seconds=300.7))
    assert [back.covers(observed(at)) for at in (-5, 299, 300, 301)] == [True, True, False, False]
    assert back.covers({}), "a step that nobody has reported about"


def test_the_message_names_lease_and_instant() -> None:
    assert HubSilence(WALL).why == "no hub has renewed the Lease bobrapet-hub since 2026-01-02T03:00:00Z"
    assert HubSilence(WALL, WALL).why.startswith("the hub was lost at 2026-01-02T03:00:00Z, and the next one")
