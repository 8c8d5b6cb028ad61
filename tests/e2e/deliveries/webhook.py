"""A webhook Impulse as docs/start-from-a-webhook.md describes it, with the template of this repository."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from core.api.conditions import is_true
from core.api.objects import Object
from core.api.resource import IMPULSE, IMPULSE_TEMPLATE, SECRET, STORY, Resource
from core.kube.client import KubeClient
from tests.e2e.deliveries.sender import KEY_HEADER, SendingOrder
from tests.integration.operator_cluster import eventually, status_of

IMAGES: Final = Path(__file__).parents[3] / "impulses" / "images.yaml"
"""The image map with the program of the Impulse."""
READY_SECONDS: Final = 60.0
_MANIFEST: Final = IMAGES.parent / "manifests" / "webhook.yaml"
_TEMPLATE_PORT: Final = "8080"
_TEMPLATE_PROBE_PORT: Final = "8081"
_PORTS: Final = range(12_000, 16_000)
_PATH: Final = "/deliveries"
_SECRET: Final = "a secret of the deliveries"


@dataclass(frozen=True, slots=True)
class WebhookImpulse:
    """An Impulse and the Story that it starts, both with the same name."""

    name: str
    namespace: str
    port: int

    def order(self, client: str, count: int, per_second: float, **more: Any) -> SendingOrder:
        """An order to send deliveries to it, from number ``first`` on, which is 0 unless it is among ``more``."""
        what = {"first": 0, "count": count, "per_second": per_second, **more}
        return SendingOrder(port=self.port, path=_PATH, secret=_SECRET, client=client, **what)


async def install_webhook(client: KubeClient, name: str, namespace: str, steps: Sequence[Object]) -> WebhookImpulse:
    """Create a Story of these steps, and an Impulse that starts it; returns when the Impulse is ready.

    All programs share the ports of this machine, so the Impulse gets a free one: in a template of its own, because the
    probes have it, too.
    """
    impulse = WebhookImpulse(name, namespace, _free_port())
    text = _MANIFEST.read_text().replace(_TEMPLATE_PORT, str(impulse.port))
    template = YAML(typ="safe", pure=True).load(text.replace(_TEMPLATE_PROBE_PORT, str(impulse.port + 1)))
    template["metadata"]["name"] = f"webhook-{name}"
    await client.create(IMPULSE_TEMPLATE, template)

    async def create(resource: Resource, of: str, content: Object) -> None:
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        await client.create(resource, {**kind, "metadata": {"name": of, "namespace": namespace}, **content})

    schema = {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}}
    await create(SECRET, f"{name}-auth", {"stringData": {"secret": _SECRET}})
    await create(STORY, name, {"spec": {"steps": list(steps), "inputsSchema": schema}})
    config = {
        "port": impulse.port,
        "host": "127.0.0.1",
        "path": _PATH,
        "keyHeader": KEY_HEADER,
        "schema": schema,
        "inputs": {"number": "{{ body.number }}"},
    }
    spec = {
        "templateRef": {"name": f"webhook-{name}"},
        "storyRef": {"name": name},
        "secrets": {"auth": f"{name}-auth"},
        "with": config,
    }
    await create(IMPULSE, name, {"spec": spec})

    async def is_up() -> bool:
        found = await client.get(IMPULSE, name, namespace)
        return is_true(status_of(found).get("conditions") or [], "Ready")

    await eventually(is_up, seconds=READY_SECONDS)
    return impulse


def _free_port() -> int:
    """A port that is free like the next one, which the probes use; not held: the Impulse binds both when it starts.

    Below the ports that Linux gives to outgoing connections: while the Impulse is away, such a connection, which may
    stay for long, would take its port, and a client could even connect to itself.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        try:
            with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 1)):
                return port
        except OSError:
            continue
    raise LookupError(f"no free port in {_PORTS}")
