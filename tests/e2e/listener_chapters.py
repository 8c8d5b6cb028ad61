"""What an operator does for Impulses in the day of ``test_least_privilege``: rollouts, modes, a suspension, runs."""

from __future__ import annotations

from core.api.keys import ANNOTATION_SUSPEND, LABEL_APP_INSTANCE
from core.api.objects import Object
from core.api.resource import DEPLOYMENT, IMPULSE, IMPULSE_TEMPLATE, POD, SERVICE, STATEFUL_SET, STORY_RUN
from tests.e2e import yaml_documents
from tests.e2e.operator_rig import FLOWS, ROOT, OperatorRig, eventually, status_of, step


async def change_a_listener(rig: OperatorRig) -> None:
    """An Impulse that gets another image, another port, and another template, which has no port."""
    rig.add_images({f"test/{name}": {"command": ["/bin/sh", "-c", "exec sleep 600"]} for name in ("bell", "gong")})
    spec = {"version": "1", "image": "test/bell", "supportedModes": ["deployment"]}
    await rig.create(IMPULSE_TEMPLATE, "bell", {"spec": spec | listening_on(80)})
    await rig.create(IMPULSE_TEMPLATE, "gong", {"spec": spec})
    await rig.engram("rung")
    await rig.story("rung", step("rung"))
    await rig.create(IMPULSE, "door", {"spec": {"templateRef": {"name": "bell"}, "storyRef": {"name": "rung"}}})
    await rig.until(IMPULSE, "door", is_up)
    await rig.merge(IMPULSE_TEMPLATE, "bell", {"spec": {"image": "test/gong", **listening_on(8080)}})
    await rig.until(DEPLOYMENT, "door-bell-impulse", lambda obj: image_of(obj) == "test/gong")
    await rig.until(SERVICE, "door-bell-impulse", lambda obj: bool(obj["spec"]["ports"][0]["port"] == 8080))
    await rig.merge(IMPULSE, "door", {"spec": {"templateRef": {"name": "gong"}}})
    for resource in (SERVICE, DEPLOYMENT):
        await rig.gone(resource, "door-bell-impulse")
    await rig.until(DEPLOYMENT, "door-gong-impulse", lambda obj: status_of(obj).get("readyReplicas") == 1)
    await rig.until(IMPULSE, "door", is_up)


async def move_a_listener_into_a_stateful_set(rig: OperatorRig) -> None:
    """It is suspended there, and goes back."""
    rig.add_images({"test/horn": {"command": ["/bin/sh", "-c", "exec sleep 600"]}})
    modes = {"version": "1", "image": "test/horn", "supportedModes": ["deployment", "statefulset"]}
    await rig.create(IMPULSE_TEMPLATE, "horn", {"spec": modes | listening_on(80)})
    await rig.engram("blown")
    await rig.story("blown", step("blown"))
    spec = {"templateRef": {"name": "horn"}, "storyRef": {"name": "blown"}, "workload": {"mode": "statefulset"}}
    await rig.create(IMPULSE, "ship", {"spec": spec})
    await rig.until(STATEFUL_SET, "ship-horn-impulse", lambda obj: status_of(obj).get("readyReplicas") == 1)
    await rig.merge(IMPULSE, "ship", {"metadata": {"annotations": {ANNOTATION_SUSPEND: "true"}}})
    await rig.until(IMPULSE, "ship", lambda obj: status_of(obj).get("phase") == "Paused")
    await rig.merge(IMPULSE, "ship", {"spec": {"workload": {"mode": "deployment"}}})
    await rig.gone(STATEFUL_SET, "ship-horn-impulse")
    await rig.merge(IMPULSE, "ship", {"metadata": {"annotations": {ANNOTATION_SUSPEND: None}}})
    await rig.until(IMPULSE, "ship", is_up)


async def start_runs_from_a_schedule(rig: OperatorRig) -> None:
    """The cron Impulse with its own account: it starts runs, and ends the one before."""
    rig.add_images(yaml_documents.images(ROOT / "impulses/images.yaml"))
    await rig.apply("impulses/manifests/cron.yaml")
    await rig.story("chime", {"name": "held", "type": "gate"})
    often = {"name": "often", "every": "1s", "concurrencyPolicy": "Replace", "catchUp": "skip"}
    spec = {"templateRef": {"name": "cron"}, "storyRef": {"name": "chime"}, "with": {"schedules": [often]}}
    await rig.create(IMPULSE, "clock", {"spec": spec})
    await rig.until(IMPULSE, "clock", lambda obj: status_of(obj).get("storiesLaunched", 0) >= 2)
    await rig.merge(IMPULSE, "clock", {"metadata": {"annotations": {ANNOTATION_SUSPEND: "true"}}})

    async def has_ended() -> bool:
        return not (await rig.client.list(POD, FLOWS, label_selector=f"{LABEL_APP_INSTANCE}=clock")).items

    await eventually(has_ended, lambda: "the Pod of a suspended listener is still there")
    await rig.client.delete(IMPULSE, "clock", FLOWS)  # also its rights: a listener that still ends would miss them
    for run in (await rig.client.list(STORY_RUN, FLOWS)).items:
        if run["spec"]["storyRef"]["name"] == "chime":
            await rig.merge(STORY_RUN, run["metadata"]["name"], {"spec": {"cancelRequested": True}})


def listening_on(port: int) -> Object:
    return {"execution": {"service": {"ports": [{"name": "http", "port": port, "targetPort": 8080}]}}}


def is_up(impulse: Object) -> bool:
    conditions = status_of(impulse).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def image_of(deployment: Object) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
