"""What each verb sends, what its answer means, and how long each call may take."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import trio
import trio.testing

from core.api.objects import Object
from core.api.resource import NAMESPACE
from core.kube.client import KubeClient
from core.kube.config import Impersonation
from core.kube.credentials import Credential, StaticCredentials, bearer_token
from core.kube.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    ConnectionLostError,
    DeadlineError,
    InternalServerError,
    InvalidError,
    NotFoundError,
    RequestTooLargeError,
    ResourceExpiredError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
)
from core.kube.retry import DEFAULT_POLICY
from core.kube.transport import open_body
from core.telemetry import metrics
from kubewire import PatchType
from tests.unit.core.kube.scripted_server import WIDGET, ScriptedServer, listing, ok, refusal, widget

DELETED_AT = "2026-01-01T00:00:00Z"
BASE = "/apis/example.io/v1/namespaces/team/widgets"


def sent(server: ScriptedServer) -> tuple[str, str, dict[str, str]]:
    request = server.requests[-1]
    return request.method, request.url.path, dict(request.url.params)


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer(answer=lambda request: ok(widget("a", 5)))


async def test_get_reads_one_object(server: ScriptedServer) -> None:
    async with server.client() as client:
        assert (await client.get(WIDGET, "a", "team"))["kind"] == "Widget"
        assert sent(server) == ("GET", f"{BASE}/a", {})
        await client.get(WIDGET, "a", "team", subresource="status")
        assert sent(server) == ("GET", f"{BASE}/a/status", {})
        await client.get(NAMESPACE, "a")
        assert sent(server) == ("GET", "/api/v1/namespaces/a", {})


async def test_metadata_is_asked_for_without_the_rest(server: ScriptedServer) -> None:
    async with server.client() as client:
        await client.get_metadata(WIDGET, "a", "team")
        await client.get(WIDGET, "a", "team")
    asked = [request.headers["accept"] for request in server.requests]
    assert asked == ["application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "application/json"]
    assert sent(server) == ("GET", f"{BASE}/a", {})


@pytest.mark.parametrize("name", ["", "a/b", "..", "a%2fb"])
async def test_a_name_cannot_lead_to_another_path(server: ScriptedServer, name: str) -> None:
    async with server.client() as client:
        with pytest.raises(ValueError, match="cannot be the name"):
            await client.get(WIDGET, name, "team")
    assert server.requests == []


async def test_writes_say_who_writes_and_what(server: ScriptedServer) -> None:
    async with server.client() as client:
        await client.create(WIDGET, widget("a", 5), dry_run=True)
        assert sent(server) == ("POST", BASE, {"fieldManager": "bobrapet", "dryRun": "All"})
        await client.create(WIDGET, {"metadata": {"name": "a"}}, namespace="team")
        assert sent(server) == ("POST", BASE, {"fieldManager": "bobrapet"})
        await client.replace(WIDGET, widget("a", 5), subresource="status")
        assert sent(server) == ("PUT", f"{BASE}/a/status", {"fieldManager": "bobrapet"})
        await client.patch(WIDGET, "a", {"status": {"x": 1}}, namespace="team", subresource="status")
        assert sent(server) == ("PATCH", f"{BASE}/a/status", {"fieldManager": "bobrapet"})
        assert server.requests[-1].headers["content-type"] == "application/merge-patch+json"
        await client.apply(WIDGET, {"metadata": {"name": "a", "namespace": "team"}}, force=True, field_manager="me")
        assert sent(server) == ("PATCH", f"{BASE}/a", {"fieldManager": "me", "force": "true"})
        assert server.requests[-1].headers["content-type"] == PatchType.APPLY
        assert server.bodies[-1]["apiVersion"] == "example.io/v1"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"body": [], "patch_type": PatchType.MERGE}, "an object"),
        ({"body": {}, "patch_type": PatchType.JSON}, "a list"),
        ({"body": {}, "force": True}, "only an apply patch"),
    ],
)
async def test_a_patch_that_cannot_be_meant_is_refused_before_it_is_sent(
    server: ScriptedServer, arguments: dict[str, Any], complaint: str
) -> None:
    async with server.client() as client:
        with pytest.raises(ValueError, match=complaint):
            await client.patch(WIDGET, "a", namespace="team", **arguments)


async def test_delete_carries_its_preconditions(server: ScriptedServer) -> None:
    async with server.client() as client:
        await client.delete(WIDGET, "a", "team", uid="u", resource_version="5", grace_period_seconds=0)
        assert sent(server)[:2] == ("DELETE", f"{BASE}/a")
        assert server.bodies[-1] == {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": "u", "resourceVersion": "5"},
        }
        await client.delete_collection(WIDGET, "team", label_selector="a=b")
        assert sent(server) == ("DELETE", BASE, {"labelSelector": "a=b"})
        with pytest.raises(ValueError, match="needs a namespace"):
            await client.delete_collection(WIDGET)


@pytest.mark.parametrize(
    ("metadata", "is_left"),
    [
        (None, False),
        ({}, False),  # of some kinds, the last version is the answer
        ({"deletionTimestamp": DELETED_AT, "deletionGracePeriodSeconds": 0}, False),
        ({"deletionTimestamp": DELETED_AT, "deletionGracePeriodSeconds": 30}, True),
        ({"deletionTimestamp": DELETED_AT, "deletionGracePeriodSeconds": 0, "finalizers": ["a/b"]}, True),
    ],
)
async def test_delete_says_whether_the_object_waits_for_its_end(metadata: Object | None, is_left: bool) -> None:
    answer: Object = {"kind": "Status", "metadata": {}, "status": "Success"}
    if metadata is not None:
        answer = widget("a", 2)
        answer["metadata"].update(metadata)
    async with ScriptedServer(answer=lambda request: ok(answer)).client() as client:
        assert await client.delete(WIDGET, "a", "team") == (answer if is_left else None)


async def test_lists_are_read_page_by_page_and_items_know_their_kind() -> None:
    pages = {
        "": listing({"metadata": {"name": "a"}}, version=9, next_page="2"),
        "2": listing(widget("b", 2), version=9),
    }
    server = ScriptedServer(answer=lambda request: pages[request.url.params.get("continue", "")])
    async with server.client() as client:
        found = await client.list(WIDGET, "team", label_selector="x in (a,b)", limit=1)

    assert [(obj["kind"], obj["metadata"]["name"]) for obj in found.items] == [("Widget", "a"), ("Widget", "b")]
    assert found.resource_version == "9"
    assert dict(server.requests[0].url.params) == {"labelSelector": "x in (a,b)", "limit": "1"}


async def test_a_list_whose_picture_expires_between_pages_starts_over_and_ends_up_whole() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "limit" not in request.url.params:
            return listing(widget("a", 1), widget("b", 2), version=30)
        if "continue" in request.url.params:
            return refusal("Expired")
        return listing(widget("a", 1), version=9, next_page="2")

    server = ScriptedServer(answer=answer)
    async with server.client() as client:
        found = await client.list(WIDGET, limit=1)

    assert (len(found.items), found.resource_version) == (2, "30")
    assert len(server.requests) == 7


async def test_a_list_that_is_always_too_old_is_an_error() -> None:
    async with ScriptedServer(answer=lambda request: refusal("Expired")).client() as client:
        with pytest.raises(ResourceExpiredError):
            await client.list(WIDGET)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("NotFound", NotFoundError), ("AlreadyExists", AlreadyExistsError), ("Conflict", ConflictError)],
)
async def test_refusals_are_raised_by_kind(reason: str, kind: type[Exception]) -> None:
    async with ScriptedServer(answer=lambda request: refusal(reason)).client() as client:
        with pytest.raises(kind):
            await client.create(WIDGET, widget("a", 1))


async def test_a_failed_test_of_a_json_patch_is_a_conflict_and_an_invalid_result_is_not() -> None:
    failed_test = ok({"kind": "Status", "status": "Failure", "reason": "Invalid", "message": "m", "code": 422}, 422)
    invalid = refusal("Invalid", details={"name": "a", "kind": "Widget", "causes": [{"field": "spec"}]})
    answers = [failed_test, invalid, failed_test.__class__(422, content=failed_test.content)]
    async with ScriptedServer(answer=lambda request: answers.pop(0)).client() as client:
        with pytest.raises(ConflictError, match="a test or path"):
            await client.patch(WIDGET, "a", [], namespace="team", patch_type=PatchType.JSON)
        with pytest.raises(InvalidError):
            await client.patch(WIDGET, "a", [], namespace="team", patch_type=PatchType.JSON)
        with pytest.raises(InvalidError):
            await client.patch(WIDGET, "a", {}, namespace="team")


async def test_a_body_the_server_would_not_read_is_not_sent(server: ScriptedServer) -> None:
    async with server.client() as client:
        with pytest.raises(RequestTooLargeError, match="the limit is 3145728"):
            await client.create(WIDGET, widget("a", 1, data="x" * 3_200_000))
    assert server.requests == []


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[1]", b"", b'{"kind":'])
async def test_an_answer_that_is_no_object_is_a_server_error(body: bytes) -> None:
    async with ScriptedServer(answer=lambda request: httpx.Response(200, content=body)).client() as client:
        with pytest.raises(InternalServerError, match="not a JSON object"):
            await client.get(WIDGET, "a", "team")


async def test_reads_are_tried_again_and_writes_are_not(autojump_clock: trio.testing.MockClock) -> None:
    answers = [refusal("ServiceUnavailable"), refusal("InternalError"), ok(widget("a", 5)), refusal("InternalError")]
    server = ScriptedServer(answer=lambda request: answers.pop(0))
    async with server.client(retry=DEFAULT_POLICY) as client:
        await client.get(WIDGET, "a", "team")
        with pytest.raises(InternalServerError):
            await client.patch(WIDGET, "a", {}, namespace="team")
    assert len(server.requests) == 4


async def test_a_write_turned_away_for_load_is_sent_again_after_the_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers = [refusal("TooManyRequests", retry_after="3"), ok(widget("a", 5))]
    async with ScriptedServer(answer=lambda request: answers.pop(0)).client(retry=DEFAULT_POLICY) as client:
        await client.patch(WIDGET, "a", {}, namespace="team")
    assert 3 <= trio.current_time() < 4


async def test_an_eviction_is_never_repeated(autojump_clock: trio.testing.MockClock) -> None:
    server = ScriptedServer(answer=lambda request: refusal("TooManyRequests", retry_after="1"))
    async with server.client(retry=DEFAULT_POLICY) as client:
        with pytest.raises(TooManyRequestsError):
            await client.create_subresource(WIDGET, "a", "eviction", {}, "team")
    assert len(server.requests) == 1


async def never(request: httpx.Request) -> httpx.Response:
    await trio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize("reads", [True, False])
async def test_no_call_outlives_its_deadline_and_a_write_leaves_its_outcome_open(
    autojump_clock: trio.testing.MockClock, reads: bool
) -> None:
    async with ScriptedServer(answer=never).client() as client:
        call = client.get(WIDGET, "a", "team") if reads else client.patch(WIDGET, "a", {}, namespace="team")
        with pytest.raises(DeadlineError) as raised:
            await call
    assert trio.current_time() == 30
    assert raised.value.outcome_unknown is not reads


async def test_a_call_that_never_got_its_turn_was_certainly_not_done(autojump_clock: trio.testing.MockClock) -> None:
    server = ScriptedServer(answer=never)
    outcomes: list[bool] = []

    async def write(client: KubeClient) -> None:
        try:
            await client.patch(WIDGET, "a", {}, namespace="team")
        except DeadlineError as error:
            outcomes.append(error.outcome_unknown)

    async with server.client() as client, trio.open_nursery() as nursery:
        for _ in range(70):
            nursery.start_soon(write, client)
    assert len(server.requests) == 32
    assert sorted(outcomes) == [False] * 38 + [True] * 32


@pytest.mark.parametrize(
    ("error", "kind", "unknown"),
    [
        (httpx.ConnectError("refused"), UnreachableError, False),
        (httpx.ConnectTimeout("slow"), UnreachableError, False),
        (httpx.ReadError("reset"), ConnectionLostError, True),
        (httpx.RemoteProtocolError("cut"), ConnectionLostError, True),
        (httpx.ReadTimeout("slow"), DeadlineError, True),
    ],
)
async def test_what_the_network_raises_becomes_ours(error: Exception, kind: type[Any], unknown: bool) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    async with ScriptedServer(answer=fail).client() as client:
        with pytest.raises(kind) as raised:
            await client.patch(WIDGET, "a", {}, namespace="team")
    assert raised.value.outcome_unknown is unknown
    assert "PATCH" in str(raised.value)


@pytest.mark.parametrize("verb", ["get", "list", "patch", "stream"])
async def test_cancellation_at_the_wait_for_an_answer_frees_the_slot(
    autojump_clock: trio.testing.MockClock, verb: str
) -> None:
    server = ScriptedServer(answer=never)
    async with server.client() as client:
        for _ in range(70):
            with trio.move_on_after(1) as scope:
                match verb:
                    case "get":
                        await client.get(WIDGET, "a", "team")
                    case "list":
                        await client.list(WIDGET)
                    case "patch":
                        await client.patch(WIDGET, "a", {}, namespace="team")
                    case _:
                        async with client.open_stream("GET", "/log"):
                            pass
            assert scope.cancelled_caught
    assert len(server.requests) == 70


class Rotating:
    """Tokens that are renewed after a refusal."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    async def current(self) -> Credential:
        return Credential(f"Bearer {self.tokens[0]}")

    async def renew(self, refused: Credential) -> Credential:
        if len(self.tokens) > 1:
            self.tokens.pop(0)
        return await self.current()


def only_token(token: str) -> Any:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != f"Bearer {token}":
            return refusal("Unauthorized", "Unauthorized", date="Wed, 25 Nov 2026 00:00:00 GMT")
        return ok(widget("a", 5))

    return answer


async def test_refused_credentials_are_renewed_once_even_for_a_write() -> None:
    server = ScriptedServer(answer=only_token("new"))
    async with server.client(credentials=Rotating("old", "new")) as client:
        await client.patch(WIDGET, "a", {}, namespace="team")
        async with client.open_stream("GET", "/log") as response, open_body(response) as body:
            assert b"".join([chunk async for chunk in body]).startswith(b"{")
    assert len(server.requests) == 3

    server = ScriptedServer(answer=only_token("other"))
    async with server.client(credentials=Rotating("old", "new")) as client:
        with pytest.raises(UnauthorizedError):
            await client.get(WIDGET, "a", "team")
    assert len(server.requests) == 2


EXPIRED = "h.eyJleHAiOjE3NjAwMDAwMDB9.s"  # exp 1760000000, in October 2025


@pytest.mark.parametrize(
    ("token", "hint"),
    [(EXPIRED, r"expired at 2025-10-09T08:53:20Z; log in again"), ("opaque", r"does not accept the credentials of")],
)
async def test_a_401_says_what_to_do(token: str, hint: str) -> None:
    server = ScriptedServer(answer=only_token("other"))
    async with server.client(credentials=bearer_token(token), context="dev", source="/home/me/config") as client:
        with pytest.raises(UnauthorizedError, match=hint) as raised:
            await client.get(WIDGET, "a", "team")
    assert "context 'dev' (/home/me/config)" in str(raised.value)
    assert token not in str(raised.value)


async def test_headers_say_who_asks_for_whom(server: ScriptedServer) -> None:
    async with server.client(
        credentials=StaticCredentials(Credential("Bearer t")), impersonation=Impersonation("bob", ("g1", "g2"), "7")
    ) as client:
        await client.get(WIDGET, "a", "team")
    headers = server.requests[0].headers

    assert headers["authorization"] == "Bearer t"
    assert headers["user-agent"] == "bobrapet"
    assert headers["impersonate-user"] == "bob"
    assert headers.get_list("impersonate-group") == ["g1", "g2"]
    assert headers["impersonate-uid"] == "7"


async def test_a_server_behind_a_path_is_reached(server: ScriptedServer) -> None:
    async with ScriptedServer.client(server) as client:
        response = await client.request(
            "post", "/raw thing", params={"q": "a b&c"}, json={"x": 1}, headers={"x-y": "z"}
        )

    assert response.status_code == 200
    assert server.requests[0].url.raw_path == b"/raw%20thing?q=a+b%26c"
    assert server.requests[0].headers["x-y"] == "z"


async def test_discovery_lists_kinds_without_subresources() -> None:
    answers = {
        "/api/v1": {
            "resources": [
                {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["get"], "shortNames": ["po"]},
                {"name": "pods/log", "kind": "Pod"},
            ]
        },
        "/apis": {
            "groups": [
                {"name": f"{name}.io", "preferredVersion": {"groupVersion": f"{name}.io/v1", "version": "v1"}}
                for name in ("gone", "example")
            ]
        },
        "/apis/example.io/v1": {"resources": [{"name": "widgets", "kind": "Widget", "namespaced": True}]},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/apis/gone.io/v1":  # its last definition was deleted meanwhile
            return httpx.Response(404, text="404 page not found")
        return ok(answers[request.url.path])

    async with ScriptedServer(answer=answer).client() as client:
        found = await client.discover()

    assert [(kind.group, kind.version, kind.plural, kind.short_names) for kind in found] == [
        ("", "v1", "pods", ("po",)),
        ("example.io", "v1", "widgets", ()),
    ]


async def test_every_call_is_counted_by_code() -> None:
    answers = [ok(widget("a", 5)), refusal("NotFound")]
    with metrics.recording():
        async with ScriptedServer(answer=lambda request: answers.pop(0)).client() as client:
            await client.get(WIDGET, "a", "team")
            with pytest.raises(NotFoundError):
                await client.get(WIDGET, "b", "team")

        assert metrics.sample("rest_client_requests_total", code="200", method="GET", host="scripted") == 1
        assert metrics.sample("rest_client_requests_total", code="404", method="GET", host="scripted") == 1
        assert metrics.sample("rest_client_request_duration_seconds_count", verb="get", host="scripted") == 2


async def test_writes_are_counted_by_verb_and_resource_and_reads_are_not() -> None:
    answers = [ok(widget("a", 5)), ok(widget("a", 6)), refusal("Conflict")]
    with metrics.recording():
        async with ScriptedServer(answer=lambda request: answers.pop(0)).client() as client:
            await client.get(WIDGET, "a", "team")
            await client.patch(WIDGET, "a", {"status": {}}, namespace="team", subresource="status")
            with pytest.raises(ConflictError):
                await client.patch(WIDGET, "a", {"status": {}}, namespace="team", subresource="status")

        assert metrics.sample("bobrapet_api_writes_total", verb="patch", resource="widgets/status") == 2
        assert metrics.sample("bobrapet_api_writes_total", verb="get", resource="widgets") is None


async def test_a_deadline_of_nothing_is_refused() -> None:
    from core.kube.client import open_client
    from core.kube.config import ClusterConfig

    with pytest.raises(ConfigError, match="more than zero"):
        open_client(ClusterConfig("http://x"), timeout_seconds=0)


async def test_background_calls_leave_room_and_wait_for_their_turn_as_long_as_it_takes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    underway: list[str] = []
    most: dict[str, int] = {}

    async def slow(request: httpx.Request) -> httpx.Response:
        kind = request.url.path.rsplit("/", 1)[1]
        underway.append(kind)
        most[kind] = max(most.get(kind, 0), underway.count(kind))
        await trio.sleep(10)
        underway.remove(kind)
        return ok(widget("a", 1))

    async with ScriptedServer(answer=slow).client() as client, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(client.in_background().get, WIDGET, "later", "team")
        for _ in range(20):
            nursery.start_soon(client.get, WIDGET, "now", "team")
    assert most == {"later": 4, "now": 20}
    assert trio.current_time() == 80


async def test_a_flood_in_one_namespace_leaves_room_for_another_and_for_the_program_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = ScriptedServer(answer=never)

    async def get(client: KubeClient, namespace: str) -> None:
        with pytest.raises(DeadlineError):
            await client.get(WIDGET, "a", namespace)

    async with server.client() as client, trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(get, client, "noisy")
        for namespace in map(str, range(9)):  # they use what is left
            for _ in range(20):
                nursery.start_soon(get, client, namespace)
        await trio.sleep(1)
        before = len(server.requests)
        nursery.start_soon(get, client.for_itself(), "operators")
        nursery.start_soon(get, client.in_background().for_itself(), "operators")
        await trio.sleep(1)
        itself = [request.url.path.split("/")[5] for request in server.requests[before:]]
        nursery.cancel_scope.cancel()

    assert before == 64
    assert itself == ["operators"] * 2


async def test_calls_that_wait_take_turns_by_namespace(autojump_clock: trio.testing.MockClock) -> None:
    slow = trio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        await slow.wait()
        return httpx.Response(200, json={"metadata": {"name": "a"}})

    server = ScriptedServer(answer=answer)
    async with server.client() as client, trio.open_nursery() as nursery:
        for namespace, count in (("noisy", 300), ("loud", 100), ("quiet", 1)):
            for _ in range(count):
                nursery.start_soon(client.get, WIDGET, "a", namespace)
            await trio.testing.wait_all_tasks_blocked()
        slow.set()

    order = [request.url.path.split("/")[5] for request in server.requests]
    assert len(order) == 401
    assert "quiet" in order[:60]
