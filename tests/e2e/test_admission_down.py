"""While nothing answers admission reviews: what continues, what waits, and how to recover. On a real API server.

Admission runs in the operator's own process, so the engine is down with it, and must come up without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from core.api.resource import ENGRAM, NAMESPACE, STORY, STORY_RUN, Resource
from core.kube.errors import KubeError, NotFoundError
from tests.e2e.admission_rig import NAMES, RIGHT, ask_admission, is_asked
from tests.e2e.operator_rig import FLOWS, OperatorRig, eventually, status_of, step
from tools.control_plane.ports import held_port


async def test_admission_that_is_down_stops_new_definitions_and_nothing_else(rig: OperatorRig) -> None:
    with held_port() as port:
        where = f"--webhook-bind-address=127.0.0.1:{port}"
    first = await rig.start_operator("first", where, NAMES, "--leader-elect=false")
    await eventually(lambda: _logs(first.log, "controllers start"), first.tail)
    await rig.engram("nap", "sleep 2")
    await ask_admission(rig, first)
    await rig.story("chain", step("a", "nap"), step("b", "nap", needs=["a"]))
    await rig.create(STORY, "unused", RIGHT)
    for name in ("under-way", "approved"):
        await rig.run(name, "chain")
    await rig.create(NAMESPACE, "doomed", {})
    owner = await rig.create(STORY, "owner", RIGHT)
    reference = {key: owner[key] for key in ("apiVersion", "kind")} | {"name": "owner", "uid": owner["metadata"]["uid"]}
    await rig.create(STORY, "owned", RIGHT, ownerReferences=[reference])
    await rig.create(STORY, "doomed", RIGHT, "doomed", finalizers=["tests.bubustack.io/hold"])
    await rig.until(STORY_RUN, "under-way", lambda run: status_of(run).get("phase") == "Running")

    await first.kill()

    refused = {
        "a new Story": await refusal(rig.create(STORY, "new", RIGHT)),
        "a new run": await refusal(rig.run("new", "chain")),
        "another spec": await refusal(rig.merge(STORY, "chain", {"spec": {"version": "2"}})),
    }
    passed = {
        "labels": await refusal(rig.merge(STORY, "chain", {"metadata": {"labels": {"a": "b"}}})),
        "the same spec": await refusal(rig.merge(ENGRAM, "nap", {"spec": {"templateRef": {"name": "nap"}}})),
        "an approval": await refusal(approve(rig, "approved")),
        "the end of a Story": await refusal(rig.client.delete(STORY, "unused", FLOWS)),
        "the end of an owner": await refusal(rig.client.delete(STORY, "owner", FLOWS)),
        "the end of a namespace": await refusal(rig.client.delete(NAMESPACE, "doomed")),
        "a finalizer taken off": await refusal(
            rig.client.patch(STORY, "doomed", {"metadata": {"finalizers": None}}, namespace="doomed")
        ),
    }
    await eventually(lambda: is_gone(rig, NAMESPACE, "doomed"), lambda: "the namespace does not end", seconds=60)
    await eventually(lambda: is_gone(rig, STORY, "owned", FLOWS), lambda: "garbage stays", seconds=60)

    down_until = trio.current_time()
    second = await rig.start_operator("second", where, NAMES, "--leader-elect=false")
    await is_asked(rig, second)
    watchful_after = trio.current_time() - down_until
    run = await rig.ended("under-way", "Succeeded")

    assert passed == dict.fromkeys(passed, "")
    assert all("failed calling webhook" in text for text in refused.values()), refused
    assert watchful_after <= 10
    assert {name: state["phase"] for name, state in status_of(run)["stepStates"].items()} == {
        "a": "Succeeded",
        "b": "Succeeded",
    }
    print(f"reviews were answered again {watchful_after:.1f} s after the start of the process")


async def refusal(asked: Any) -> str:
    """The reason of the refusal; empty if it was not refused."""
    try:
        await asked
    except KubeError as error:
        return str(error)
    return ""


async def approve(rig: OperatorRig, name: str) -> None:
    status = {"status": {"gates": {"ask": {"state": "Approved"}}}}
    await rig.client.patch(STORY_RUN, name, status, namespace=FLOWS, subresource="status")


async def is_gone(rig: OperatorRig, resource: Resource, name: str, namespace: str | None = None) -> bool:
    try:
        await rig.client.get(resource, name, namespace)
    except NotFoundError:
        return True
    return False


async def _logs(log: Path, words: str) -> bool:
    await trio.lowlevel.checkpoint()
    return log.exists() and words in log.read_text()  # noqa: ASYNC240 - a few lines
