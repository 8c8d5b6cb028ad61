"""Transports, through the whole operator: validity, the Stories that use them, and their bindings."""

from __future__ import annotations

from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.resource import TRANSPORT, TRANSPORT_BINDING
from tests.integration.operator_cluster import OperatorCluster, status_of

TYPES = ["application/json", "text/plain"]


def bindings_ready(transport: Object) -> str:
    found = find_condition(status_of(transport).get("conditions") or [], "BindingsReady") or {}
    return f"{found.get('status')} {found.get('reason')}: {found.get('message')}"


async def test_a_transport_shows_its_validity_its_stories_and_what_its_bindings_say(world: OperatorCluster) -> None:
    spec = {"provider": "people", "driver": "hub", "supportedBinary": TYPES}
    await world.create(TRANSPORT, "voice", spec, namespaced=False)
    async with world.operator():
        await world.until(TRANSPORT, "voice", lambda each: status_of(each).get("validationStatus") == "valid")
        declared = [{"name": "lane", "transportRef": "voice"}]
        await world.story("report", {"name": "a", "type": "sleep", "with": {"duration": "1s"}}, transports=declared)
        await world.until(TRANSPORT, "voice", lambda each: status_of(each).get("usageCount") == 1)

        lane = {"binary": {"direction": "bidirectional", "mimeTypes": TYPES[:1]}}
        bound = {"transportRef": "voice", "driver": "hub", "stepName": "a", "engramName": "one-a", **lane}
        binding = await world.create(TRANSPORT_BINDING, "one-a-transport", bound)
        waits = await world.until(TRANSPORT, "voice", lambda each: status_of(each).get("pendingBindings") == 1)
        assert bindings_ready(waits) == "False Reconciling: 0 ready, 1 pending"

        connected = {"type": "Ready", "status": "True", "reason": "Connected", "message": "connected"}
        connected["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        status = {"conditions": [connected], "negotiatedBinary": TYPES[0]}
        namespace = binding["metadata"]["namespace"]
        await world.client.patch(
            TRANSPORT_BINDING, "one-a-transport", {"status": status}, namespace=namespace, subresource="status"
        )
        ready = await world.until(TRANSPORT, "voice", lambda each: "1 ready" in bindings_ready(each))
        assert (status_of(ready)["availableBinary"], status_of(ready)["pendingBindings"]) == (TYPES[:1], 0)

        await world.client.delete(TRANSPORT_BINDING, "one-a-transport", namespace)
        gone = await world.until(TRANSPORT, "voice", lambda each: "0 ready" in bindings_ready(each))
        assert status_of(gone)["availableBinary"] == TYPES

        await world.client.patch(TRANSPORT, "voice", {"spec": {"supportedBinary": []}})
        broken = await world.until(TRANSPORT, "voice", lambda each: bool(status_of(each).get("validationErrors")))
    assert status_of(broken)["validationStatus"] == "invalid"
    assert "supports no kind of data" in status_of(broken)["validationErrors"][0]
    assert status_of(broken)["usageCount"] == 1
