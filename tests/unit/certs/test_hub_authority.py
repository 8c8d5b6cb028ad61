"""The hub's certificate, issued by the operator: what is stored where, and what follows. (certs/hub_authority.py)"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import orjson
import pytest
import trio
import trio.testing

from certs.authority import Lifetimes
from certs.hub_authority import HUB_AUTHORITY_SECRET, HUB_LIFETIMES, HubAuthority, hub_names
from certs.secret import served_pair
from core.api.objects import Object
from core.engine.clock import WallClock
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.retry import ONCE
from core.workloads.hub_access import HUB_TLS_SECRET
from tests.unit.certs.certs_world import START, ApiModel, verify

HOST = "bobrapet-hub.bobrapet-system.svc"
NAMES = hub_names(HOST)


class Recorded:
    def record(self, regarding: Object, type_: str, reason: str, message: str) -> None:
        del regarding, type_, reason, message


class HubApi(ApiModel):
    """Answers lists of Secrets by name, and holds watches open."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        selector = request.url.params.get("fieldSelector", "")
        if request.url.params.get("watch"):
            await trio.sleep_forever()
        if selector:
            found = self.objects.get(selector.partition("=")[2])
            body = {"kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": [found] if found else []}
            return httpx.Response(200, content=orjson.dumps(body))
        return await super().handle_async_request(request)


@asynccontextmanager
async def running(api: HubApi) -> AsyncIterator[HubAuthority]:
    async with open_client(ClusterConfig("http://model"), transport=api, retry=ONCE) as client:
        authority = HubAuthority(client, "system", NAMES, WallClock(lambda: START), Recorded())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(authority.run)
            await trio.testing.wait_all_tasks_blocked(0.05)
            yield authority
            nursery.cancel_scope.cancel()


def entry(api: HubApi, name: str) -> bytes:
    return base64.b64decode(api.objects[HUB_TLS_SECRET]["data"][name])


async def test_the_hub_gets_a_certificate_and_its_key_and_never_that_of_the_authority() -> None:
    api = HubApi()
    async with running(api):
        stored = api.objects[HUB_TLS_SECRET]
        assert set(stored["data"]) == {"tls.crt", "tls.key", "ca.crt"}
        assert "ca.key" in api.objects[HUB_AUTHORITY_SECRET]["data"]
        pair, _ = served_pair(entry(api, "tls.crt"), entry(api, "tls.key"))
        verify(pair.certificate, entry(api, "ca.crt"), START, HOST)


async def test_what_is_right_is_not_written_again_and_what_is_gone_is() -> None:
    api = HubApi()
    async with running(api) as authority:
        count = len([request for request in api.requests if not request.startswith("GET")])
        await authority.look()
        assert len([request for request in api.requests if not request.startswith("GET")]) == count
        first = api.objects.pop(HUB_TLS_SECRET)
        await authority.look()
        assert api.objects[HUB_TLS_SECRET]["data"] == first["data"]


async def test_a_secret_of_another_owner_and_a_newer_generation_are_left_alone() -> None:
    api = HubApi()
    async with running(api) as authority:
        foreign = {"metadata": {"name": HUB_TLS_SECRET, "uid": "x"}, "data": {"tls.crt": "eA=="}}
        api.put(HUB_TLS_SECRET, foreign)
        await authority.look()
        assert api.objects[HUB_TLS_SECRET]["data"] == {"tls.crt": "eA=="}
        newer = {
            "name": HUB_TLS_SECRET,
            "uid": "x",
            "labels": {"app.kubernetes.io/managed-by": "bobrapet"},
            "annotations": {"certs.bubustack.io/generation": "99"},
        }
        api.put(HUB_TLS_SECRET, {"metadata": newer, "data": {"tls.crt": "eA=="}})
        await authority.look()
        assert api.objects[HUB_TLS_SECRET]["data"] == {"tls.crt": "eA=="}
        newer["annotations"] = {"certs.bubustack.io/generation": "0"}
        api.put(HUB_TLS_SECRET, {"metadata": newer, "data": {"tls.crt": "eA=="}})
        await authority.look()
        assert set(api.objects[HUB_TLS_SECRET]["data"]) == {"tls.crt", "tls.key", "ca.crt"}


def test_a_new_authority_is_published_longer_than_containers_are_expected_to_live() -> None:
    assert isinstance(HUB_LIFETIMES, Lifetimes)
    assert HUB_LIFETIMES.settle.days >= 365


@pytest.mark.parametrize(
    ("host", "names"),
    [(HOST, (HOST, f"{HOST}.cluster.local")), ("hub.example.org", ("hub.example.org",)), ("10.0.0.1", ("10.0.0.1",))],
)
def test_the_names_are_those_that_clients_use(host: str, names: tuple[str, ...]) -> None:
    assert hub_names(host) == names
