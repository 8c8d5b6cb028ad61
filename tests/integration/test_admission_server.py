"""The admission server over real TLS: called by an API server, by other clients, and while its certificate changes."""

from __future__ import annotations

import base64
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Lifetimes, Pair, issue_authority, issue_leaf
from certs.material import pem_of
from certs.serving import ServingContext
from core.api.objects import NamespacedName, ReadOnlyObject
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, REFERENCE_GRANT, SECRET, STORY, STORY_RUN, Resource
from core.engine.clock import system_now
from core.evaluation import pool
from core.kube.errors import ApiError, InvalidError
from core.kube.informer import Informer
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from manager.admission.secret_names import SecretNames
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, eventually
from webhooks import connection
from webhooks.app import admission_app
from webhooks.cluster_view import InMemoryView, Unseen
from webhooks.limits import ReviewLimits
from webhooks.registration import HOOKS, Hook
from webhooks.server import ListenError, serve_admission
from webhooks.setup import AdmissionSetup

HOST = "127.0.0.1"
LIFETIMES = Lifetimes(hurry=timedelta(seconds=2))
VALIDATE = "/validate-bubustack-io-v1alpha1-story"
STEP = {"name": "a", "type": "stop"}


class Caches:
    """The informers of an operator, on the API server."""

    def __init__(self, world: OperatorCluster) -> None:
        kinds = (STORY, ENGRAM, ENGRAM_TEMPLATE, STORY_RUN, REFERENCE_GRANT)
        self._informers = {resource: Informer(world.client, resource) for resource in kinds}
        self._changed = trio.Event()
        for informer in self._informers.values():
            informer.add_handler(lambda _: self._note())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            for informer in self._informers.values():
                nursery.start_soon(informer.run)
                await informer.wait_until_synced()
            task_status.started()

    async def changed(self) -> None:
        await self._changed.wait()

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    @property
    def settings(self) -> OperatorSettings:
        return OperatorSettings()

    @property
    def policy(self) -> CrossNamespacePolicy:
        return CrossNamespacePolicy.DENY

    def find(self, resource: Resource, namespace: str, name: str) -> ReadOnlyObject | Unseen:
        informer = self._informers.get(resource)
        return (informer.get(namespace or None, name) or Unseen.MISSING) if informer else Unseen.UNKNOWN

    def grants(self, namespace: str) -> Sequence[ReadOnlyObject]:
        return ()


async def _never() -> None:
    await trio.sleep_forever()


@dataclass
class Served:
    """An admission server on its own port, with its own certificates."""

    url: str
    serving: ServingContext
    authority: Pair
    leaves: list[Pair] = field(default_factory=list)
    handshakes: int = 0
    """How many have begun so far."""

    @property
    def ca_pem(self) -> bytes:
        return pem_of((self.authority.certificate,))

    def rotate(self) -> None:
        leaf = issue_leaf(self.authority, (HOST,), system_now(), LIFETIMES)
        self.serving.install(pem_of((leaf.certificate,)), leaf)
        self.leaves.append(leaf)

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.ca_pem.decode())

    def client(self, context: ssl.SSLContext | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=context or self.trust(), base_url=self.url, timeout=10)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@asynccontextmanager
async def serving_admission(
    gate: AdmissionSetup | None = None,
    *,
    client_ca: Path | None = None,
    http2: bool = False,
    most: int = connection.MAX_CONNECTIONS,
    **limits: Any,
) -> AsyncIterator[Served]:
    def configure(context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL

    given = gate or AdmissionSetup(
        world=lambda: InMemoryView(settings=OperatorSettings()),
        operator="operator",
        trouble=lambda: "",
        changed=_never,
        convert=lambda body: body,
    )
    serving = ServingContext(configure)
    served = Served("", serving, issue_authority((HOST,), system_now(), LIFETIMES))
    served.rotate()
    async with trio.open_nursery() as nursery:
        app = admission_app(given, ReviewLimits(**limits))

        def current() -> ssl.SSLContext:
            served.handshakes += 1
            return serving.context

        start = partial(serve_admission, app, HOST, 0, current, client_ca=client_ca, http2=http2, most=most)
        served.url = await nursery.start(start)
        yield served
        nursery.cancel_scope.cancel()


def story(name: str, *steps: Any, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Story",
        "metadata": {"name": name, "namespace": NAMESPACE_NAME},
        "spec": {"steps": list(steps) or [STEP], **spec},
    }


def review(new: Any) -> dict[str, Any]:
    request = {
        "uid": "u",
        "operation": "CREATE",
        "resource": {"group": "bubustack.io", "version": "v1alpha1", "resource": "stories"},
        "namespace": NAMESPACE_NAME,
        "userInfo": {"username": "ann"},
        "object": new,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


# Called by an API server.


def configuration(hooks: Sequence[Hook], served: Served) -> dict[str, Any]:
    return {
        "metadata": {"name": "gate-server-tests"},
        "webhooks": [
            {
                "name": hook.name,
                "clientConfig": {
                    "url": f"{served.url}{hook.path}",
                    "caBundle": base64.b64encode(served.ca_pem).decode(),
                },
                "rules": [
                    {
                        "operations": ["CREATE", "UPDATE"],
                        "apiGroups": [hook.resource.group],
                        "apiVersions": [hook.resource.version],
                        "resources": [hook.target],
                    }
                ],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "timeoutSeconds": 5,
                "admissionReviewVersions": ["v1"],
            }
            for hook in hooks
        ],
    }


@pytest.fixture
async def guarded(world: OperatorCluster) -> AsyncIterator[tuple[OperatorCluster, Served]]:
    """A cluster whose API server calls admission for all twelve kinds."""
    caches = Caches(world)
    gate = AdmissionSetup(
        world=lambda: caches, operator="operator", trouble=lambda: "", changed=caches.changed, convert=lambda body: body
    )
    async with trio.open_nursery() as nursery, serving_admission(gate) as served:
        await nursery.start(caches.run)
        registration = "/apis/admissionregistration.k8s.io/v1"
        names = []
        for kind, hooks in (
            ("mutating", [hook for hook in HOOKS if hook.mutating]),
            ("validating", [hook for hook in HOOKS if not hook.mutating]),
        ):
            path = f"{registration}/{kind}webhookconfigurations"
            await world.client.request("POST", path, json=configuration(hooks, served))
            names.append(f"{path}/gate-server-tests")
        await world.eventually(lambda: _is_refused(world, story("probe", {**STEP, "needs": ["gone"]})))
        try:
            yield world, served
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                for name in names:
                    await world.client.request("DELETE", name)
        nursery.cancel_scope.cancel()


async def _is_refused(world: OperatorCluster, new: dict[str, Any]) -> bool:
    try:
        await world.client.create(STORY, new, dry_run=True)
    except ApiError:
        return True
    return False


async def test_a_wrong_story_is_refused_with_causes_and_a_good_one_gets_defaults(
    guarded: tuple[OperatorCluster, Served],
) -> None:
    world, _ = guarded
    wrong = story("wrong", {"name": "fetch", "type": "stop"}, {"name": "b", "type": "stop", "needs": ["fecth"]})
    with pytest.raises(InvalidError) as refused:
        await world.client.create(STORY, wrong)

    (cause,) = refused.value.causes
    assert (cause.reason, cause.field) == ("FieldValueNotFound", "spec.steps[1].needs[0]")
    assert cause.message == "there is no step 'fecth' (did you mean fetch?)"
    assert 'admission webhook "vstory-v1alpha1.kb.io" denied the request: Story.bubustack.io "wrong" is invalid' in str(
        refused.value
    )
    careful = story("careful", {"name": "pay", "ref": {"name": "payer"}, "sideEffects": True})
    stored = await world.client.create(STORY, careful)
    assert stored["spec"]["steps"][0]["execution"]["retry"]["maxRetries"] == 0


async def test_a_dry_run_is_decided_and_changes_nothing(guarded: tuple[OperatorCluster, Served]) -> None:
    world, _ = guarded
    careful = story("dry", {"name": "pay", "ref": {"name": "payer"}, "sideEffects": True})
    answer = await world.client.create(STORY, careful, dry_run=True)

    assert answer["spec"]["steps"][0]["execution"]["retry"]["maxRetries"] == 0
    assert await world.names(STORY) == []
    assert await _is_refused(world, story("dry", {**STEP, "needs": ["gone"]}))


async def test_an_engram_may_be_created_right_behind_its_template(guarded: tuple[OperatorCluster, Served]) -> None:
    world, _ = guarded
    template = {"version": "1.0.0", "image": "worker:1", "supportedModes": ["job"]}
    for number in range(5):
        name = f"worker-{number}"
        await world.create(ENGRAM_TEMPLATE, name, template, namespaced=False)
        await world.create(ENGRAM, name, {"version": "1.0.0", "templateRef": {"name": name}})

    with pytest.raises(InvalidError):
        await world.create(ENGRAM, "lost", {"version": "1.0.0", "templateRef": {"name": "gone"}})


async def test_a_secret_is_looked_up_without_its_data(world: OperatorCluster) -> None:
    await world.create(SECRET, "openai", {"token": "s3cr3t"})
    found = await world.client.get_metadata(SECRET, "openai", NAMESPACE_NAME)
    assert found["kind"] == "PartialObjectMetadata"
    assert "s3cr3t" not in str(found)
    assert found.keys() == {"apiVersion", "kind", "metadata"}

    wanted = [NamespacedName(NAMESPACE_NAME, name) for name in ("openai", "gone")]
    assert await SecretNames(world.client).missing(wanted) == wanted[1:]


async def test_rotations_in_mid_flight_are_unnoticed(guarded: tuple[OperatorCluster, Served]) -> None:
    world, served = guarded
    refused, admitted = 0, 0

    async def create_for_ever() -> None:
        nonlocal refused, admitted
        while True:
            try:
                await world.client.create(STORY, story("again"), dry_run=True)
                admitted += 1
            except ApiError:
                refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(create_for_ever)
        rotations = 0
        with trio.fail_after(60):
            while rotations < 30 or admitted < 30:
                served.rotate()
                rotations += 1
                await trio.sleep(0.03)
        nursery.cancel_scope.cancel()

    assert refused == 0


# Called by other clients.


async def test_each_new_connection_sees_the_newest_certificate() -> None:
    async with serving_admission() as served:
        shown = []
        for _ in range(3):
            served.rotate()
            stream = await trio.open_ssl_over_tcp_stream(HOST, served.port, ssl_context=served.trust())
            await stream.do_handshake()
            shown.append(stream.getpeercert(binary_form=True))
            await trio.aclose_forcefully(stream)

    assert shown == [leaf.certificate.public_bytes(Encoding.DER) for leaf in served.leaves[1:]]


async def test_only_http_1_is_offered_unless_http_2_is_wanted() -> None:
    for http2, chosen in ((False, "http/1.1"), (True, "h2")):
        async with serving_admission(http2=http2) as served:
            context = served.trust()
            context.set_alpn_protocols(["h2", "http/1.1"])
            stream = await trio.open_ssl_over_tcp_stream(HOST, served.port, ssl_context=context)
            await stream.do_handshake()
            assert stream.selected_alpn_protocol() == chosen
            await trio.aclose_forcefully(stream)


async def test_http_2_is_not_spoken_with_whoever_just_begins() -> None:
    async with serving_admission() as served, await talking(served) as stream:
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        assert await rest_of(stream) == b""


async def test_old_tls_is_not_spoken() -> None:
    async with serving_admission() as served:
        context = served.trust()
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        stream = await trio.open_ssl_over_tcp_stream(HOST, served.port, ssl_context=context)
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)


async def test_without_the_api_servers_certificate_nobody_is_read(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    async with serving_admission(client_ca=ca) as served:
        async with served.client() as stranger:
            refused = await stranger.post(VALIDATE, json=review(story("s")))
            health = [(await stranger.get(path)).status_code for path in ("/healthz", "/readyz")]
            converted = await stranger.post("/convert", json={"a": 1})
        async with await talking(served) as stream:
            head = f"POST {VALIDATE} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
            await stream.send_all(head.encode())
            unread = await stream.receive_some()
        known = served.trust()
        authority.issue_cert("api-server").configure_cert(known)
        async with served.client(known) as api_server:
            answered = await api_server.post(VALIDATE, json=review(story("s")))

    assert (refused.status_code, health, converted.status_code) == (401, [200, 200], 200)
    assert unread.startswith(b"HTTP/1.1 401")
    assert answered.json()["response"]["allowed"] is True


async def test_a_certificate_of_another_authority_is_not_let_in(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    async with serving_admission(client_ca=ca) as served:
        other = served.trust()
        trustme.CA().issue_cert("api-server").configure_cert(other)
        stream = await trio.open_ssl_over_tcp_stream(HOST, served.port, ssl_context=other)
        await stream.do_handshake()
        assert await rest_of(stream) == b""
        await trio.aclose_forcefully(stream)


async def test_a_large_review_is_decided_while_small_ones_go_on() -> None:
    texts = {f"k{number}": f"{{{{ inputs.x{number} }}}}" for number in range(40)}
    steps = [{"name": f"s{number}", "ref": {"name": "e"}, "with": texts} for number in range(50)]
    patient: dict[str, Any] = {"seconds": 30.0, "worker_seconds": 20.0}  # for a busy machine
    async with serving_admission(**patient) as served, served.client() as client, trio.open_nursery() as nursery:
        client.timeout = 40
        large: list[httpx.Response] = []

        async def ask_about_large() -> None:
            large.append(await client.post(VALIDATE, json=review(story("large", *steps))))

        nursery.start_soon(ask_about_large)
        while not large:
            answer = await client.post(VALIDATE, json=review(story("small")))
            assert answer.json()["response"]["allowed"] is True
            await trio.sleep(0.05)  # the CPU is for the large one

    assert large[0].json()["response"]["allowed"] is True
    assert "warnings" in large[0].json()["response"]


async def test_what_takes_too_long_is_refused_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool._Worker, "cpu_seconds", lambda _: trio.current_time())  # as if it always had a processor
    texts = {f"k{number}": f"{{{{ inputs.x{number} }}}}" for number in range(280)}
    steps = [
        {"name": f"s{step}", "ref": {"name": "e"}, "with": {key: f"{text}{step}" for key, text in texts.items()}}
        for step in range(80)
    ]
    async with serving_admission(seconds=30.0, worker_seconds=0.3) as served, served.client() as client:
        answer = await client.post(VALIDATE, json=review(story("large", *steps)))

    status = answer.json()["response"]["status"]
    assert (status["code"], status["details"]["causes"][0]["field"]) == (422, "spec")
    assert "takes longer than 0.3 s" in status["message"]


# Malicious clients.


async def talking(served: Served, source: str = HOST) -> trio.SSLStream[trio.SocketStream]:
    tcp = await trio.open_tcp_stream(HOST, served.port, local_address=source)
    stream = trio.SSLStream(tcp, served.trust(), server_hostname=HOST, https_compatible=True)
    await stream.do_handshake()
    return stream


def streams_in_memory() -> int:
    return sum(isinstance(each, trio.SSLStream) for each in gc.get_objects())


async def rest_of(stream: trio.SSLStream[trio.SocketStream]) -> bytes:
    received = b""
    with trio.fail_after(30):
        while True:
            try:
                part = await stream.receive_some()
            except trio.BrokenResourceError:
                return received
            if not part:
                return received
            received += part


async def test_a_head_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    async with serving_admission() as served, await talking(served) as stream:
        await stream.send_all(b"POST /validate HTTP/1.1\r\nx: ")
        assert await rest_of(stream) == b""


async def test_a_body_that_never_ends_is_not_waited_for() -> None:
    async with serving_admission(seconds=0.2) as served, await talking(served) as stream:
        await stream.send_all(f"POST {VALIDATE} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc".encode())
        assert (await rest_of(stream)).startswith(b"HTTP/1.1 504")


async def test_no_silent_handshake_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 0.2)
    async with serving_admission() as served, await trio.open_tcp_stream(HOST, served.port) as stream:
        with trio.fail_after(30):
            assert await stream.receive_some() == b""


async def test_who_sends_too_much_hears_of_it() -> None:
    async with serving_admission(review_bytes=10_000) as served, served.client() as client:
        answer = await client.post(VALIDATE, content=b"x" * (2 << 20), headers={"content-type": "application/json"})

    assert answer.status_code == 413


@pytest.mark.parametrize("bytes_", [b"\x00" * 100, b"GET / HTTP/9\r\n\r\n", b"\r\n" * 40_000, b"a" * 100_000])
async def test_what_is_no_http_ends_its_own_connection_only(bytes_: bytes) -> None:
    async with serving_admission() as served:
        async with await talking(served) as stream:
            await stream.send_all(bytes_)
            received = await rest_of(stream)
        async with served.client() as client:
            assert (await client.get("/healthz")).status_code == 200

    assert received == b"" or received.startswith(b"HTTP/1.1 4")


async def test_beyond_so_many_connections_the_longest_idle_one_goes() -> None:
    async with serving_admission(most=2) as served:
        first, second = await talking(served), await talking(served)
        async with served.client() as client:
            assert (await client.get("/healthz")).status_code == 200
        assert await rest_of(first) == b""
        await second.send_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await rest_of(second)).startswith(b"HTTP/1.1 200")
        for stream in (first, second):
            await trio.aclose_forcefully(stream)


async def test_bare_connections_cost_no_tls_and_hold_nobody_up() -> None:
    async with serving_admission(most=32) as served:
        flood = [await trio.open_tcp_stream(HOST, served.port) for _ in range(300)]
        async with served.client() as client:
            assert (await client.get("/healthz")).status_code == 200
        assert served.handshakes == 1
        still_open = 0
        for stream in flood:
            with trio.move_on_after(0.001):
                still_open += await stream.receive_some(1) != b""
        assert still_open <= 32
        for stream in flood:
            await trio.aclose_forcefully(stream)


async def test_a_flood_of_one_address_takes_no_connection_of_another() -> None:
    async with serving_admission(most=8) as served:
        other = await talking(served, source="127.0.0.2")
        flood = [await talking(served) for _ in range(30)]
        await other.send_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await rest_of(other)).startswith(b"HTTP/1.1 200")
        for stream in (other, *flood):
            await trio.aclose_forcefully(stream)


async def test_a_connection_that_is_used_outlives_a_flood_of_the_same_address() -> None:
    async with serving_admission(most=8) as served:
        used = await talking(served)
        await used.send_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await used.receive_some()).startswith(b"HTTP/1.1 200")
        flood = [await trio.open_tcp_stream(HOST, served.port) for _ in range(100)]
        await used.send_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"HTTP/1.1 200" in await rest_of(used)
        for stream in (used, *flood):
            await trio.aclose_forcefully(stream)


async def test_of_a_closed_connection_nothing_is_left_that_only_a_collector_could_free() -> None:
    async with serving_admission(most=8) as served:
        gc.collect()
        gc.disable()
        try:
            before = streams_in_memory()
            for _ in range(30):
                stream = await talking(served)
                await trio.aclose_forcefully(stream)
                vars(stream).clear()  # frees the client's own half

            async def are_gone() -> bool:
                return streams_in_memory() <= before + 8

            await eventually(are_gone, seconds=30)
        finally:
            gc.enable()


# Start and stop.


async def test_what_is_under_way_ends_when_the_server_is_stopped() -> None:
    is_asked = trio.Event()

    async def changed() -> None:
        is_asked.set()
        await trio.sleep_forever()

    answers: list[httpx.Response] = []
    engram = {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Engram",
        "metadata": {"name": "e", "namespace": NAMESPACE_NAME},
        "spec": {"version": "1.0.0", "templateRef": {"name": "gone"}},
    }
    gate = AdmissionSetup(
        world=lambda: InMemoryView(settings=OperatorSettings()),
        operator="operator",
        trouble=lambda: "",
        changed=changed,
        convert=lambda body: body,
    )
    body = review(engram)
    body["request"]["resource"]["resource"] = "engrams"

    async def ask(served: Served) -> None:
        async with served.client() as client:
            answers.append(await client.post("/validate-bubustack-io-v1alpha1-engram", json=body))

    async with trio.open_nursery() as nursery, serving_admission(gate, patience_seconds=0.3) as served:
        nursery.start_soon(ask, served)
        await is_asked.wait()

    assert answers[0].json()["response"]["status"]["code"] == 422


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"cannot listen on {HOST}:{port}: Address already in use; free it"):
            await serve_admission(None, HOST, port, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
