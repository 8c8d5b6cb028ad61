"""The hub of a cluster, as a process: packets, statuses, the end of a run, deaths of hub and API server."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from certs.hub_authority import HUB_AUTHORITY_SECRET, HubAuthority
from core.api.objects import Object
from core.api.resource import LEASE, SECRET, TRANSPORT_BINDING
from core.engine.clock import WallClock
from core.workloads.binding_token import issue_token
from core.workloads.hub_key import HUB_KEY_SECRET, hub_key_secret
from deployment.permissions.names import OPERATOR_NAMESPACE
from tests.integration.hub_cluster import ALO, KEY, PATIENCE_SECONDS, HubCluster, free_port, open_hub_cluster, trusting
from tests.integration.operator_cluster import eventually
from tests.unit.hub.modelled_client import EngramIO, ModelledEngram, Program, collecting, emitting, forever


def numbers(count: int, start: int = 0) -> list[str]:
    return [str(number) for number in range(start, start + count)]


async def until(holds: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return holds()

    await eventually(asked, seconds=PATIENCE_SECONDS)


async def test_packets_pass_and_the_status_says_so_until_the_end(tmp_path: Path) -> None:
    received: list[str] = []
    async with open_hub_cluster(tmp_path) as cluster:
        await cluster.begin("emit")
        await cluster.start_hub()
        waiting = await cluster.until_status("emit", lambda status: bool(status["conditions"][0]))
        assert waiting["conditions"][0]["reason"] == "AwaitingTransport"
        await cluster.until_status("emit", lambda s: "bindings of sink" in s["conditions"][0]["message"])
        await cluster.bind("sink")
        source = cluster.engram("emit", emitting(numbers(20)))
        sink = cluster.engram("sink", collecting(received))
        await until(lambda: received == numbers(20))

        ready = await cluster.until_status("sink", lambda status: status["stream"].get("connected") is True)
        assert (ready["conditions"][0]["status"], ready["conditions"][0]["reason"]) == ("True", "TransportReady")
        assert (ready["negotiatedBinary"], ready["endpoint"]) == ("text/plain", "127.0.0.1:9000")
        await cluster.finish("emit")
        source.kill()
        drained = await cluster.until_status("sink", lambda status: status["stream"].get("drained") is True)
        assert drained["stream"]["generation"] == 1
        sink.kill()
        await cluster.finish("sink")
        last = await cluster.until_status("sink", lambda status: status["stream"].get("connected") is False)
        assert (last["stream"]["delivered"], last["stream"]["lost"]) == (20, 0)
        await cluster.until_status("emit", lambda status: status["stream"].get("received") == 20)


async def test_a_hub_that_is_killed_streams_again(tmp_path: Path) -> None:
    received: list[str] = []
    async with open_hub_cluster(tmp_path) as cluster:
        await cluster.begin()
        await cluster.start_hub()
        cluster.engram("sink", collecting(received))
        cluster.engram("emit", endless)
        await until(lambda: len(received) > 10)
        await cluster.end("hub")
        began, seen = trio.current_time(), len(received)
        await cluster.start_hub()
        await until(lambda: len(received) > seen + 10)
        print(f"streaming again {trio.current_time() - began:.1f} s after the hub was killed")
        await cluster.until_status("sink", lambda status: status["stream"].get("connected") is True)


async def test_packets_do_not_stop_while_the_api_server_starts_again(tmp_path: Path) -> None:
    received: list[str] = []
    async with open_hub_cluster(tmp_path) as cluster:
        await cluster.begin()
        await cluster.start_hub()
        sink, source = cluster.engram("sink", collecting(received)), cluster.engram("emit", endless)
        await until(lambda: len(received) > 10)
        before = sink.sessions, source.sessions
        await cluster.end("server")
        seen = len(received)
        await until(lambda: len(received) > seen + 50)
        await cluster.start_server()
        await cluster.begin(run="run-2")
        seen = len(received)
        await until(lambda: len(received) > seen + 50)
        assert (sink.sessions, source.sessions) == before, "nobody had to connect again"
        await cluster.until_status("emit", lambda status: bool(status["conditions"][0]), run="run-2")


async def test_an_idle_hub_writes_its_lease_and_nothing_else(tmp_path: Path) -> None:
    received: list[str] = []
    async with open_hub_cluster(tmp_path) as cluster:
        await cluster.begin()
        await cluster.start_hub()
        cluster.engram("sink", collecting(received))
        cluster.engram("emit", emitting(numbers(5)))
        await cluster.until_status("sink", lambda status: status["stream"].get("delivered") == 5)
        lease = await cluster.client.get(LEASE, "bobrapet-hub", OPERATOR_NAMESPACE)

        async def is_quiet() -> bool:
            before = await versions(cluster)
            await trio.sleep(12)  # longer than counts wait
            return await versions(cluster) == before

        await eventually(is_quiet, seconds=60)  # the last write says that the rates are zero
        renewed = await cluster.client.get(LEASE, "bobrapet-hub", OPERATOR_NAMESPACE)
        assert renewed["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]


async def test_strangers_who_name_a_step_are_shown_and_cannot_make_the_hub_write(tmp_path: Path) -> None:
    async with open_hub_cluster(tmp_path) as cluster:
        await cluster.begin()
        await cluster.start_hub()
        sink = cluster.engram("sink", collecting([]))
        await sink.ready.wait()
        before = await cluster.until_status("sink", lambda status: status["stream"].get("connected") is True)
        token = issue_token(bytes(32), "default", "run-1-sink-transport", cluster.uids["run-1/sink"], 1)
        refused = 0

        async def knock() -> None:
            nonlocal refused
            while True:
                stranger = ModelledEngram(cluster.hub_port, f"default/{token}", forever, max_retries=0)
                assert await stranger.run() == 1
                refused += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(knock)
            nursery.start_soon(knock)
            shown = await cluster.until_status("sink", lambda status: "lastRefusal" in status["stream"])
            assert shown["stream"]["lastRefusal"]["reason"] == "wrong_token"
            assert "is not valid" in shown["stream"]["lastRefusal"]["message"]
            seen, began = refused, trio.current_time()
            await until(lambda: refused > seen + 60)
            took = trio.current_time() - began
            nursery.cancel_scope.cancel()
        after = await cluster.status("sink")
        assert (after == shown) or took > 29, "the next refusal of this step is shown half a minute later"
        assert after["conditions"] == before["conditions"]
        assert cluster.hub_log.count("a client was refused") <= 3 + took / 10 < 10
        assert token not in cluster.hub_log


async def test_a_hub_without_the_lease_does_not_serve_and_takes_over_when_it_is_free(tmp_path: Path) -> None:
    async with open_hub_cluster(tmp_path) as cluster:
        await cluster.begin()
        await cluster.start_hub("--lease-identity=first")
        await cluster.until_hub_listens()
        first, cluster.hub_port = cluster.running["hub"], free_port()
        await cluster.start_hub("--lease-identity=second")
        engram = cluster.engram("sink", collecting([]))
        await trio.sleep(2)
        assert not engram.ready.is_set()
        first.terminate()
        with trio.fail_after(30):
            assert await first.wait() == 0
            await engram.ready.wait()


async def test_a_hub_that_loses_its_lease_stops_serving_and_serves_again_when_it_is_free(tmp_path: Path) -> None:
    async with open_hub_cluster(tmp_path) as cluster:
        await cluster.begin()
        await cluster.start_hub()
        engram = cluster.engram("sink", collecting([]))
        await engram.ready.wait()
        ends, sessions = len(engram.ends), engram.sessions
        await hold_lease(cluster, "another")
        await until(lambda: len(engram.ends) > ends)
        assert "UNAVAILABLE" in engram.ends[ends]
        await trio.sleep(1)
        assert engram.sessions == sessions
        assert cluster.running["hub"].poll() is None
        await hold_lease(cluster, "")
        await until(lambda: engram.sessions > sessions)


async def hold_lease(cluster: HubCluster, holder: str) -> None:
    spec = {"spec": {"holderIdentity": holder}}
    await cluster.client.patch(LEASE, "bobrapet-hub", spec, namespace=OPERATOR_NAMESPACE)


async def test_sigterm_lets_the_steps_have_what_is_on_its_way(tmp_path: Path) -> None:
    received: list[str] = []
    async with open_hub_cluster(tmp_path) as cluster:
        await cluster.begin(settings={**ALO, "backpressure": {"buffer": {"maxMessages": 4}}})
        await cluster.start_hub()
        sink = cluster.engram("sink", slowly(received))
        source = cluster.engram("emit", emitting(numbers(40)))
        await until(lambda: len(received) > 2)
        before = len(sink.ends)
        assert await cluster.end("hub", kill=False) == 0
        assert received == numbers(40), "they had left the source"
        await until(lambda: len(sink.ends) > before)
        assert "UNAVAILABLE" in sink.ends[before]
        source.kill()


async def test_a_new_key_signs_beside_the_old_one_and_a_hub_without_a_key_waits(tmp_path: Path) -> None:
    async with open_hub_cluster(tmp_path) as cluster:
        await cluster.client.delete(SECRET, HUB_KEY_SECRET, OPERATOR_NAMESPACE)
        await cluster.begin()
        await cluster.start_hub()
        await until(lambda: "waits for the Secret bobrapet-system/bobrapet-hub-key" in cluster.hub_log)
        await cluster.client.create(SECRET, hub_key_secret(OPERATOR_NAMESPACE, KEY))
        first = cluster.engram("sink", collecting([]))
        await first.ready.wait()
        ends = len(first.ends)

        both = hub_key_secret(OPERATOR_NAMESPACE, "n" * 64 + "\n" + KEY)
        await cluster.client.patch(SECRET, HUB_KEY_SECRET, {"data": both["data"]}, namespace=OPERATOR_NAMESPACE)
        second = cluster.engram("emit", collecting([]), key="n" * 64)
        await until(lambda: second.ready.is_set() or bool(second.ends))
        while second.ends and not second.ready.is_set():  # it came before the news; its process would start again
            second.kill()
            second = cluster.engram("emit", collecting([]), key="n" * 64)
            await trio.sleep(0.2)
        assert len(first.ends) == ends


async def test_the_hub_serves_the_certificate_of_the_operator_and_its_successor(tmp_path: Path) -> None:
    """Sessions go on with the certificate that they began with."""
    async with open_hub_cluster(tmp_path) as cluster:
        await cluster.begin()
        await cluster.start_hub(f"--bind-address=0.0.0.0:{cluster.hub_port}")
        await until(lambda: "waits for the Secret bobrapet-system/bobrapet-hub-tls" in cluster.hub_log)
        authority = HubAuthority(cluster.client, OPERATOR_NAMESPACE, ("localhost",), WallClock(), NoEvents())
        with open_scope(cluster.nursery, authority.run):
            await until(lambda: authority.bundle is not None)
            first = cluster.engram("sink", collecting([]), trust=authority.bundle)
            await first.ready.wait()
            sessions = first.sessions
            serial = await served_serial(cluster.hub_port, authority.bundle)
            older = trusting(authority.bundle)
            older.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(trio.BrokenResourceError):
                await handshake(cluster.hub_port, older)
            await until(lambda: "no TLS handshake: UNSUPPORTED_PROTOCOL" in cluster.hub_log)

            rotate = {"metadata": {"annotations": {"certs.bubustack.io/rotate": "leaf"}}}
            await cluster.client.patch(SECRET, HUB_AUTHORITY_SECRET, rotate, namespace=OPERATOR_NAMESPACE)

            async def is_new() -> bool:
                return await served_serial(cluster.hub_port, authority.bundle) != serial

            await eventually(is_new, seconds=PATIENCE_SECONDS)
            second = cluster.engram("emit", collecting([]), trust=authority.bundle)
            await second.ready.wait()
            assert first.sessions == sessions


class NoEvents:
    def record(self, regarding: Object, type_: str, reason: str, message: str) -> None:
        del regarding, type_, reason, message


@contextmanager
def open_scope(nursery: trio.Nursery, run: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """``run`` runs while the block does."""
    scope = trio.CancelScope()

    async def within() -> None:
        with scope:
            await run()

    nursery.start_soon(within)
    try:
        yield
    finally:
        scope.cancel()


async def served_serial(port: int, bundle: bytes | None) -> str:
    """The serial number of the certificate that a new connection gets."""
    certificate = await handshake(port, trusting(bundle))
    return str(certificate["serialNumber"])


async def handshake(port: int, context: ssl.SSLContext) -> Object:
    """The certificate of the hub.

    Raises:
        trio.BrokenResourceError: one side has refused the other.
    """
    stream = await trio.open_ssl_over_tcp_stream("localhost", port, ssl_context=context)
    try:
        await stream.do_handshake()
        certificate: Object = stream.getpeercert()
        return certificate
    finally:
        await trio.aclose_forcefully(stream)


async def versions(cluster: HubCluster) -> list[str]:
    found = await cluster.client.list(TRANSPORT_BINDING)
    return [binding["metadata"]["resourceVersion"] for binding in found.items]


async def endless(io: EngramIO) -> None:
    number = 0
    while True:
        await io.emit(str(number))
        number += 1
        await trio.sleep(0.01)


def slowly(received: list[str]) -> Program:
    async def program(io: EngramIO) -> None:
        async for message in io.incoming():
            await trio.sleep(0.02)
            received.append(message.text)
            message.done()

    return program
