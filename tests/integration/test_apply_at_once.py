"""Two clients that apply the same new object at once: both are answered, as by kube-apiserver."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
import trio

from core.api.objects import Object
from core.api.resource import CONFIG_MAP
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.credentials import bearer_token
from localcluster.server.cluster import open_api_server
from localcluster.server.store import Store
from localcluster.server.webhookcall import LocalWebhooks
from localcluster.transport import ASGIStreamingTransport

REGISTRATION: Object = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "slow"},
    "webhooks": [
        {
            "name": "slow.example.com",
            "clientConfig": {"service": {"namespace": "ours", "name": "hooks", "path": "/slow", "port": 443}},
            "rules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["configmaps"],
                    "scope": "*",
                }
            ],
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "namespaceSelector": {},
            "objectSelector": {},
            "admissionReviewVersions": ["v1"],
        }
    ],
}


class Barrier:
    """Admits the first two objects once it has seen both: each was new when its review began."""

    def __init__(self) -> None:
        self.reviews = 0
        self.both = trio.Event()

    async def answer(self, _: Store, __: str, raw: bytes) -> bytes:
        self.reviews += 1
        if self.reviews == 2:
            self.both.set()
        await self.both.wait()
        review: dict[str, Any] = orjson.loads(raw)
        return orjson.dumps({**review, "response": {"uid": review["request"]["uid"], "allowed": True}})


async def applied(client: KubeClient, key: str) -> None:
    wanted = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default"},
        "data": {key: "x"},
    }
    await client.apply(CONFIG_MAP, wanted, field_manager=key, force=True)


async def test_the_second_apply_is_an_update_of_what_the_first_created() -> None:
    barrier = Barrier()
    webhooks = LocalWebhooks(("ours", "hooks"), barrier.answer, [REGISTRATION])
    async with trio.open_nursery() as nursery, open_api_server(local_webhooks=webhooks) as api:
        config = ClusterConfig("http://cluster", bearer_token(api.admin_token))
        transport = ASGIStreamingTransport(api.app, nursery)
        async with open_client(config, transport=transport) as client:
            with trio.fail_after(30):
                async with trio.open_nursery() as clients:
                    clients.start_soon(partial(applied, client, "one"))
                    clients.start_soon(partial(applied, client, "two"))
            stored = await client.get(CONFIG_MAP, "c", "default")
        nursery.cancel_scope.cancel()

    assert stored["data"] == {"one": "x", "two": "x"}
    assert barrier.reviews == 2
