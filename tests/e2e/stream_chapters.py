"""What an operator does for realtime Stories in the day of ``test_least_privilege``; the test plays the hub."""

from __future__ import annotations

from core.api.keys import ANNOTATION_STREAM_FINISHED
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, DEPLOYMENT, SECRET, STATEFUL_SET, STORY_RUN, TRANSPORT, TRANSPORT_BINDING
from core.workloads.hub_access import HUB_TLS_SECRET
from core.workloads.hub_key import HUB_KEY_SECRET
from core.workloads.stream_credentials import AUTHORITY_CONFIG_MAP
from deployment.permissions.table import OPERATOR_NAMESPACE
from tests.e2e.operator_rig import FLOWS, OperatorRig, status_of, step


async def run_a_stream(rig: OperatorRig) -> None:
    """A source that ends, and a step that is ended when it has got everything. Its Transport comes late.

    First somebody deletes the key of the hub, which is there from before, and the operator makes another one.
    """
    former = await rig.client.get(SECRET, HUB_KEY_SECRET, OPERATOR_NAMESPACE)
    await rig.client.delete(SECRET, HUB_KEY_SECRET, OPERATOR_NAMESPACE)
    await rig.until(SECRET, HUB_KEY_SECRET, lambda key: key["data"] != former["data"], namespace=OPERATOR_NAMESPACE)
    authority = {"stringData": {"ca.crt": "-- the authority of the hub --"}}
    await rig.create(SECRET, HUB_TLS_SECRET, authority, OPERATOR_NAMESPACE)
    await rig.engram("tick", "exit 0", engram={"mode": "deployment"}, supportedModes=["deployment"])
    await rig.engram("keep", "exec sleep 600", engram={"mode": "statefulset"}, supportedModes=["statefulset"])
    wire = [{"name": "wire", "transportRef": "wire"}]
    await rig.story("ticks", step("tick"), step("keep", needs=["tick"]), pattern="realtime", transports=wire)
    await rig.run("ticks", "ticks")
    await rig.until(STORY_RUN, "ticks", lambda run: state_of(run, "tick").get("reason") == "TransportNotFound")
    spec = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
    await rig.create(TRANSPORT, "wire", {"spec": spec})
    await rig.until(STATEFUL_SET, "ticks-keep", lambda obj: status_of(obj).get("readyReplicas") == 1)
    await rig.until(CONFIG_MAP, AUTHORITY_CONFIG_MAP, lambda obj: "ca.crt" in obj["data"])
    await rig.until(TRANSPORT_BINDING, "ticks-tick-transport", is_finished)
    await rig.gone(DEPLOYMENT, "ticks-tick")
    for name in ("tick", "keep"):
        await say_drained(rig, f"ticks-{name}-transport")
    await rig.ended("ticks", "Succeeded")
    await rig.gone(STATEFUL_SET, "ticks-keep")


async def say_drained(rig: OperatorRig, binding: str) -> None:
    status = {"stream": {"connected": False, "drained": True}}
    await rig.client.patch(TRANSPORT_BINDING, binding, {"status": status}, namespace=FLOWS, subresource="status")


def is_finished(binding: Object) -> bool:
    return bool(binding["metadata"]["annotations"].get(ANNOTATION_STREAM_FINISHED) == "true")


def state_of(run: Object, name: str) -> Object:
    found: Object = (status_of(run).get("stepStates") or {}).get(name) or {}
    return found
