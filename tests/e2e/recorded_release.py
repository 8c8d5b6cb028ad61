"""Records what the operator of the previous release stores while runs are under way, for ``tests/integration``.

``python -m tests.e2e.recorded_release`` starts that operator on a real API server, brings the runs of
``upgrade_workload`` to work, lets them go on, and writes all objects at several moments: a file for each, one object a
line, after a line with the time. It needs the history of the repository and the programs of the control plane; the
tests that read the files need neither. Nobody runs it unless another commit stands for the previous release.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import orjson
import trio

from bubu_contract.instants import format_instant
from core.api.objects import Object
from core.api.resource import (
    CONTROLLER_REVISION,
    ENGRAM,
    ENGRAM_TEMPLATE,
    JOB,
    NAMESPACE,
    POD,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    Resource,
)
from core.engine.clock import system_now
from tests.e2e.operator_rig import FLOWS, OperatorRig, open_operator_rig
from tests.e2e.previous_release import PREVIOUS, ROOT, unpack
from tests.e2e.upgrade_workload import UpgradeWorkload
from tools.control_plane.processes import ServerProcess

FOLDER: Final = ROOT / "tests/integration/recorded_release"
AT_WORK: Final = "at-work"
MOMENTS: Final = 2
"""After the runs were let go."""
PAUSE_SECONDS: Final = 0.6
_KINDS: Final = (
    *(POD, JOB, STEP_RUN, STORY_RUN, CONTROLLER_REVISION),
    *(STORY, ENGRAM, ENGRAM_TEMPLATE, SERVICE_ACCOUNT, ROLE, ROLE_BINDING),
)
"""What is made later, first: so nothing is recorded whose owner is not."""


async def record() -> None:
    with tempfile.TemporaryDirectory(prefix="bobrapet-release-") as folder:
        release = unpack(Path(folder), PREVIOUS)
        async with open_operator_rig(Path(folder), release=release) as rig:
            work = UpgradeWorkload(rig)
            await work.install()
            operator = await rig.start_operator("old", release=release)
            await work.start("run")
            await _write(rig, operator, AT_WORK)
            await work.release("run")
            for number in range(MOMENTS):
                await trio.sleep(PAUSE_SECONDS)
                await _write(rig, operator, f"going-on-{number}")


async def _write(rig: OperatorRig, operator: ServerProcess, moment: str) -> None:
    operator.pause()
    head = {"release": PREVIOUS, "takenAt": format_instant(system_now())}
    found = [reduced(obj, kind) for kind in _KINDS for obj in (await rig.client.list(kind)).items if _is_theirs(obj)]
    operator.resume()
    found.append(reduced(await rig.client.get(NAMESPACE, FLOWS), NAMESPACE))
    FOLDER.mkdir(exist_ok=True)
    lines = b"".join(orjson.dumps(each, option=orjson.OPT_SORT_KEYS) + b"\n" for each in (head, *found))
    (FOLDER / f"{moment}.jsonl").write_bytes(lines)


def _is_theirs(obj: Object) -> bool:
    return str(obj["metadata"].get("namespace", FLOWS)) == FLOWS


def reduced(obj: Object, kind: Resource) -> Object:
    """The object without what only its own API server and node use."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in ("managedFields", "resourceVersion")}
    named = {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    if kind is POD:
        metadata.pop("finalizers", None)  # of the Job controller there
        named["spec"] = {key: value for key, value in obj["spec"].items() if key != "nodeName"}
    return named


if __name__ == "__main__":
    trio.run(record)
