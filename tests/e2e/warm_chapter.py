"""A part of the day of the operator: a pool of warm workers is made, grows, serves a run, and goes with its Engram."""

from __future__ import annotations

import sys

from core.api import keys
from core.api.resource import DEPLOYMENT, ENGRAM, SERVICE_ACCOUNT
from tests.e2e.operator_rig import FLOWS, ROOT, OperatorRig, eventually, step

_PROGRAM = ROOT / "tests/e2e/engrams/warm_greeter.py"


async def serve_steps_warm(rig: OperatorRig) -> None:
    warm = {"overrides": {"warm": {"replicas": 1, "maxReplicas": 2}}}
    await rig.engram("greeter", engram=warm, supportedModes=["job", "worker"])
    variables = (f"PYTHONPATH={ROOT / 'sdk'}", f"EXECUTIONS={rig.directory / 'executions'}")
    rig.add_images({"test/greeter": {"command": ["/usr/bin/env", *variables, sys.executable, str(_PROGRAM)]}})
    await rig.story("greeting", *(step(name, "greeter") for name in ("a", "b", "c")))
    await rig.run("greeting", "greeting")
    await rig.ended("greeting", "Succeeded")
    await rig.client.delete(ENGRAM, "greeter", FLOWS)

    async def is_gone() -> bool:
        selector = keys.LABEL_WORKER_POOL
        left = [
            each
            for kind in (DEPLOYMENT, SERVICE_ACCOUNT)
            for each in (await rig.client.list(kind, FLOWS, label_selector=selector)).items
        ]
        return not left

    await eventually(is_gone, lambda: "the pool of a deleted Engram is still there", seconds=120)
