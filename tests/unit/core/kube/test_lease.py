"""There is one leader at a time, by the clock of each process. Virtual time throughout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest
import trio
import trio.testing

from core.api.resource import LEASE
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError
from core.kube.lease import LeaderLease, LeaseLostError, LeaseTiming
from kubewire import Object
from tests.unit.core.kube.scripted_server import ScriptedServer, ok, refusal

START = datetime(2026, 1, 1, tzinfo=UTC)


class LeaseServer(ScriptedServer):
    """Keeps one Lease, with versions. It can be switched off, for one candidate or for all."""

    def __init__(self) -> None:
        super().__init__(answer=self.serve)
        self.lease: Object | None = None
        self.version = 0
        self.down = False

    async def serve(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        if self.down:
            return refusal("ServiceUnavailable")
        if request.method == "GET":
            return ok(self.lease) if self.lease else refusal("NotFound")
        sent = orjson.loads(request.content)
        if request.method == "POST" and self.lease:
            return refusal("AlreadyExists")
        if request.method == "PUT" and sent["metadata"]["resourceVersion"] != str(self.version):
            return refusal("Conflict")
        self.store(sent)
        return ok(self.lease)

    def store(self, lease: Object) -> None:
        self.version += 1
        lease["metadata"]["resourceVersion"] = str(self.version)
        self.lease = lease

    @property
    def holder(self) -> str:
        return str((self.lease or {})["spec"]["holderIdentity"])


def candidate(client: KubeClient, identity: str) -> LeaderLease:
    return LeaderLease(
        client,
        name="bobrapet",
        namespace="system",
        identity=identity,
        now=lambda: START + timedelta(seconds=trio.current_time()),
    )


async def test_a_lease_is_taken_at_once_and_given_back(autojump_clock: trio.testing.MockClock) -> None:
    server = LeaseServer()
    async with server.client() as client:
        lease = candidate(client, "one")

        async def body() -> None:
            assert lease.is_leader
            assert server.holder == "one"
            await trio.sleep(100)

        await lease.run(body)
    assert trio.current_time() == 100
    assert not lease.is_leader
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == ""
    assert server.lease["spec"]["renewTime"] == "2026-01-01T00:01:38.000000Z"
    assert server.lease["spec"]["leaseTransitions"] == 0


async def test_the_next_candidate_follows_a_clean_end_within_two_tries(autojump_clock: trio.testing.MockClock) -> None:
    server = LeaseServer()
    began: dict[str, float] = {}
    leading: set[str] = set()
    async with server.client() as client, trio.open_nursery() as nursery:

        async def lead(identity: str) -> None:
            async def body() -> None:
                assert not leading
                leading.add(identity)
                began[identity] = trio.current_time()
                await trio.sleep(50)
                leading.remove(identity)

            await candidate(client, identity).run(body)

        nursery.start_soon(lead, "one")
        nursery.start_soon(lead, "two")
    assert sorted(began.values())[0] < 1
    assert 50 <= sorted(began.values())[1] <= 54.5


async def test_a_silent_holder_is_waited_for_by_our_own_clock(autojump_clock: trio.testing.MockClock) -> None:
    server = LeaseServer()
    long_ago = "2001-01-01T00:00:00.000000Z"
    spec = {"holderIdentity": "dead", "leaseDurationSeconds": 15, "renewTime": long_ago, "leaseTransitions": 3}
    server.store({"metadata": {"name": "bobrapet", "namespace": "system"}, "spec": spec})
    async with server.client() as client:

        async def body() -> None:
            assert 15 <= trio.current_time() <= 18

        await candidate(client, "one").run(body)
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 4


async def test_a_holder_that_cannot_renew_stops_before_anyone_else_may_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = LeaseServer()
    async with server.client() as client:

        async def body() -> None:
            await trio.sleep(20)
            server.down = True
            await trio.sleep_forever()

        with pytest.raises(LeaseLostError, match="was lost"):
            await candidate(client, "one").run(body)
    assert 28 <= trio.current_time() <= 30.5


async def test_a_holder_that_hears_nothing_is_gone_before_anyone_else_may_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = LeaseServer()
    silent = False

    async def serve(request: httpx.Request) -> httpx.Response:
        if silent:
            await trio.sleep_forever()
        return await LeaseServer.serve(server, request)

    server.answer = serve
    async with server.client() as client:

        async def body() -> None:
            nonlocal silent
            await trio.sleep(20)
            silent = True
            await trio.sleep_forever()

        with pytest.raises(LeaseLostError, match="was lost"):
            await candidate(client, "one").run(body)
    assert 29 <= trio.current_time() <= 31.5  # 10 s after the last renewal, and one more


async def test_a_passing_outage_costs_nothing(autojump_clock: trio.testing.MockClock) -> None:
    server = LeaseServer()
    async with server.client() as client:

        async def body() -> None:
            await trio.sleep(20)
            server.down = True
            await trio.sleep(5)
            server.down = False
            await trio.sleep(60)

        await candidate(client, "one").run(body)
    assert trio.current_time() >= 85


async def test_a_lease_taken_by_another_is_lost_at_the_next_renewal(autojump_clock: trio.testing.MockClock) -> None:
    server = LeaseServer()
    async with server.client() as client:

        async def body() -> None:
            await trio.sleep(5)
            server.store(
                {
                    "metadata": {"name": "bobrapet", "namespace": "system"},
                    "spec": {"holderIdentity": "thief", "leaseDurationSeconds": 15},
                }
            )
            await trio.sleep_forever()

        with pytest.raises(LeaseLostError, match="held by thief"):
            await candidate(client, "one").run(body)
    assert trio.current_time() <= 7
    assert server.holder == "thief"


async def test_a_change_by_somebody_who_does_not_want_to_lead_is_no_loss(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = LeaseServer()
    async with server.client() as client, trio.open_nursery() as nursery:

        async def annotate() -> None:
            while True:
                await trio.sleep(0.5)
                assert server.lease is not None
                server.store({**server.lease, "metadata": {**server.lease["metadata"], "annotations": {"x": "y"}}})

        async def body() -> None:
            nursery.start_soon(annotate)
            await trio.sleep(60)

        await candidate(client, "one").run(body)
        nursery.cancel_scope.cancel()


async def test_the_lease_is_kept_while_a_cancelled_body_cleans_up(autojump_clock: trio.testing.MockClock) -> None:
    server = LeaseServer()
    async with server.client() as client:

        async def body() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(40)
                    assert server.lease is not None
                    assert server.lease["spec"]["renewTime"] > "2026-01-01T00:00:45"

        with trio.move_on_after(10):
            await candidate(client, "one").run(body)
    assert server.holder == ""


@pytest.mark.parametrize("after", [0.0, 1.0, 3.0, 14.0])
async def test_waiting_for_the_lease_can_be_cancelled(autojump_clock: trio.testing.MockClock, after: float) -> None:
    server = LeaseServer()
    server.store(
        {
            "metadata": {"name": "bobrapet", "namespace": "system"},
            "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15},
        }
    )
    async with server.client() as client:
        with trio.move_on_after(after) as scope:
            await candidate(client, "one").run(trio.sleep_forever)
    assert scope.cancelled_caught
    assert server.holder == "other"


def test_timings_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="in this order"):
        LeaseTiming(lease_seconds=10, renew_deadline_seconds=10)


async def test_who_was_suspended_past_its_lease_writes_nothing_even_before_it_knows(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = LeaseServer()
    another = {"kind": "Lease", "metadata": {"name": "bobrapet", "namespace": "system"}}
    async with server.client() as client:
        lease = candidate(client, "one")
        writer = client.fenced(lease.check)

        async def body() -> None:
            with pytest.raises(AlreadyExistsError):
                await writer.create(LEASE, another)
            with trio.CancelScope(shield=True):  # from here on, the task that renews the lease may notice at any moment
                autojump_clock.jump(30)
                for work in (writer, writer.in_background()):
                    with pytest.raises(LeaseLostError, match="not renewed in time"):
                        await work.create(LEASE, another)
            await trio.sleep_forever()

        with pytest.raises(LeaseLostError):
            await lease.run(body)
        with pytest.raises(LeaseLostError):
            await writer.create(LEASE, another)
        assert [request.method for request in server.requests].count("POST") == 2  # the lease, and the first try
        assert (await writer.get(LEASE, "bobrapet", "system"))["spec"]["holderIdentity"] == ""


async def test_a_renewal_counts_from_its_request_however_late_the_answer_comes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Others count from the write, which is at the server long before its answer is here."""
    server = LeaseServer()
    written_at, stopped_at, slow, silent = 0.0, 0.0, False, False

    async def serve(request: httpx.Request) -> httpx.Response:
        nonlocal silent, written_at
        if silent:
            await trio.sleep_forever()
        answer = await LeaseServer.serve(server, request)
        if slow and request.method == "PUT":
            silent, written_at = True, trio.current_time()
            await trio.sleep(6)
        return answer

    server.answer = serve
    async with server.client() as client:
        lease = candidate(client, "one")

        async def body() -> None:
            nonlocal slow, stopped_at
            await trio.sleep(21)
            slow = True
            try:
                await trio.sleep_forever()
            finally:
                stopped_at = trio.current_time()
                with pytest.raises(LeaseLostError):
                    lease.check()

        with pytest.raises(LeaseLostError, match="was lost"):
            await lease.run(body)
    assert written_at > 20
    assert stopped_at <= written_at + LeaseTiming().renew_deadline_seconds
