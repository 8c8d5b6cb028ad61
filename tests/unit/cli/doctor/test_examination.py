from __future__ import annotations

import re

import httpx
import trio
from trio.testing import MockClock

from cli.doctor.context import DoctorContext
from cli.doctor.examination import CHECK_SECONDS, CHECKS, FIRST_SECONDS, NamedCheck, examine
from cli.options import CommonOptions
from cli.session import Session
from core.kube.client import open_client
from core.kube.errors import ForbiddenError
from kubewire import status_failure
from tests.unit.cli.conftest import Server, session_of
from views.doctor.diagnosis import Diagnosis, Health, ok


async def test_a_cluster_without_an_operator_has_problems_and_every_check_an_answer(session: Session) -> None:
    results = {each.check: each for each in await examine(DoctorContext(session))}

    assert set(results) == {"api-server", *(check.name for check in CHECKS)}
    assert all(each.diagnoses for each in results.values())
    assert {name for name, each in results.items() if each.health is Health.PROBLEM} == {
        *("operator", "lease", "operator-permissions", "webhooks", "certificates", "admission", "policies"),
    }


async def test_a_user_without_permissions_gets_skipped_checks_and_no_error(server: Server) -> None:
    async with server.session_as("nobody") as session:
        results = await examine(DoctorContext(session))

    healths = {each.check: each.health for each in results}
    assert healths["api-server"] is Health.OK
    assert healths["your-permissions"] is Health.WARNING
    assert {health for name, health in healths.items() if name not in ("api-server", "your-permissions")} == {
        Health.SKIPPED
    }


class RecordingWrites(httpx.AsyncBaseTransport):
    """Notes every request that is not a GET, and sends it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self.writes: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "GET":
            query = f"?{request.url.query.decode()}" if request.url.query else ""
            self.writes.add(f"{request.method} {request.url.path}{query}")
        return await self._transport.handle_async_request(request)


async def test_nothing_is_changed(server: Server, session: Session) -> None:
    transport = RecordingWrites(server.transport)
    async with open_client(server.config, transport=transport) as client:
        await examine(DoctorContext(session_of(client, CommonOptions())))

    authorization = "/apis/authorization.k8s.io/v1"
    reviews = {f"POST {authorization}/{kind}" for kind in ("selfsubjectaccessreviews", "subjectaccessreviews")}
    (other,) = {re.sub(r"\?fieldManager=\w+$", "", write) for write in transport.writes} - reviews
    path, _, query = other.partition("?")
    assert path == "POST /apis/bubustack.io/v1alpha1/namespaces/default/stories"
    assert "dryRun=All" in query


async def test_a_check_that_hangs_ends_by_its_deadline_and_delays_no_other(
    session: Session, autojump_clock: MockClock
) -> None:
    async def hangs(_: DoctorContext) -> list[Diagnosis]:
        await trio.sleep_forever()
        raise AssertionError

    async def answers(_: DoctorContext) -> list[Diagnosis]:
        await trio.sleep(1)
        return [ok("fine")]

    began = trio.current_time()
    _, *results = await examine(DoctorContext(session), [NamedCheck("a", hangs), NamedCheck("b", answers)])

    assert [each.health for each in results] == [Health.WARNING, Health.OK]
    assert trio.current_time() - began <= FIRST_SECONDS + CHECK_SECONDS < 10


async def test_a_permission_that_is_missing_within_a_check_skips_it(session: Session) -> None:
    async def refused(_: DoctorContext) -> list[Diagnosis]:
        await trio.lowlevel.checkpoint()
        details = {"kind": "leases", "group": "coordination.k8s.io"}
        raise ForbiddenError({**status_failure("Forbidden", "no", code=403), "details": details})

    _, result = await examine(DoctorContext(session), [NamedCheck("a", refused)])

    assert result.health is Health.SKIPPED
    assert result.diagnoses[0].text == "you may not read leases.coordination.k8s.io"


async def test_a_server_that_stops_to_answer_is_a_problem(session: Session, autojump_clock: MockClock) -> None:
    async def hangs(_: DoctorContext) -> list[Diagnosis]:
        await trio.sleep_forever()
        raise AssertionError

    first, *_ = await examine(DoctorContext(session), [NamedCheck("a", hangs), NamedCheck("b", hangs)])

    assert first.health is Health.PROBLEM
    assert "2 of 2 checks had no answer" in first.diagnoses[-1].text


async def test_a_check_that_fails_on_a_damaged_object_hides_no_other(session: Session) -> None:
    async def broken(_: DoctorContext) -> list[Diagnosis]:
        await trio.lowlevel.checkpoint()
        raise KeyError("metadata")

    async def answers(_: DoctorContext) -> list[Diagnosis]:
        await trio.lowlevel.checkpoint()
        return [ok("fine")]

    _, failed, fine = await examine(DoctorContext(session), [NamedCheck("a", broken), NamedCheck("b", answers)])

    assert (failed.health, fine.health) == (Health.PROBLEM, Health.OK)
    assert "KeyError" in failed.diagnoses[0].text
