"""Stories of containers on the unmodified Go SDK: hooks, joins, ``with``, steps without needs, Jobs, turns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.api.objects import Object
from core.api.resource import TRANSPORT
from tests.e2e.go_sdk_rig import AT_LEAST_ONCE, VERSIONS, streaming_engram
from tests.e2e.stream_rig import StreamRig, open_real_rig
from tests.integration.operator_cluster import step
from tools.control_plane.session import SessionCluster

MESSAGES = 6
NUMBERS = range(MESSAGES)
GREETS: Object = {
    "if": '{{ eq (default "" packet.type) "storyrun.ready" }}',
    "with": {"prompt": "Greet the caller"},
}
ASKS: Object = {"with": {"tone": "warm", "depth": 2}}


@pytest.mark.parametrize("version", VERSIONS)
async def test_steps_get_hooks_with_joins_and_outputs_of_jobs(
    tmp_path: Path, steerable: SessionCluster, mounts: None, go_engrams: dict[str, Path], version: str
) -> None:
    async with open_real_rig(tmp_path, steerable, tls=True) as rig:
        await engrams(rig, str(go_engrams[version]), "source", "double", "also", "greet", "asks", "both", "answers")
        await rig.cluster.engram("half", command=[str(go_engrams[version]), "batch"])
        await story(
            rig,
            "whole",
            step("source"),
            step("double", needs=["source"]),
            step("also", needs=["source"]),
            step("greet", needs=["source"], **GREETS),
            step("asks", needs=["source"], **ASKS),
            step(
                "both",
                needs=["double", "also"],
                runtime={"one": "{{ steps.double.n }}", "other": "{{ steps.also.outputs.n }}"},
            ),
            step("half", needs=["source"], runtime={"number": "{{ packet.n }}"}),
            step("answers", needs=["half"]),
        )
        assert (await rig.ended("whole"))["phase"] == "Succeeded"

        [hook] = noted(rig, "greet")
        assert (hook["kind"], hook["payload"]["type"]) == ("hook", "storyrun.ready")
        assert hook["inputs"] == GREETS["with"]
        asked = noted(rig, "asks")
        assert [message["payload"] for message in asked] == [{"n": number} for number in NUMBERS]
        assert [message["inputs"] for message in asked] == [ASKS["with"]] * MESSAGES
        both = [message["inputs"] for message in noted(rig, "both")]
        assert sorted((inputs["one"], inputs["other"]) for inputs in both) == [(2 * each, 2 * each) for each in NUMBERS]
        answers = [message["payload"] for message in noted(rig, "answers")]
        assert answers == [{"half": number / 2, "double": 2 * number} for number in NUMBERS]


@pytest.mark.parametrize("version", VERSIONS)
async def test_steps_without_needs_get_the_packets_of_those_before_and_take_turns(
    tmp_path: Path, steerable: SessionCluster, mounts: None, go_engrams: dict[str, Path], version: str
) -> None:
    async with open_real_rig(tmp_path, steerable, tls=True) as rig:
        await engrams(rig, str(go_engrams[version]), "source", "double", "last")
        line = [step("source"), step("double"), step("last")]
        await story(rig, "line", *line, concurrency={"mode": "serial"})
        assert (await rig.ended("line"))["phase"] == "Succeeded"

        got = sorted(message["payload"]["n"] for message in noted(rig, "last"))
        assert got == sorted([*NUMBERS, *(2 * number for number in NUMBERS)])


async def engrams(rig: StreamRig, program: str, *names: str) -> None:
    """Those that are neither a source nor a transform note what they get."""
    roles = {"source": ["source", str(MESSAGES), "10ms"], "double": ["transform"], "also": ["transform"]}
    for name in names:
        await streaming_engram(rig, name, [program, *roles.get(name, ["note", str(file_of(rig, name))])])


async def story(rig: StreamRig, name: str, *steps: Object, **spec: Any) -> None:
    """The Story, its Transport, and a run of it."""
    described = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
    await rig.cluster.create(TRANSPORT, name, described, namespaced=False)
    transport = {"name": "wire", "transportRef": name, "streaming": AT_LEAST_ONCE}
    await rig.cluster.story(name, *steps, pattern="realtime", transports=[transport], **spec)
    await rig.cluster.run(name, name)


def file_of(rig: StreamRig, name: str) -> Path:
    return rig.folder / f"noted-{name}"


def noted(rig: StreamRig, name: str) -> Sequence[dict[str, Any]]:
    """The messages of the step, decoded."""
    lines = file_of(rig, name).read_text().splitlines() if file_of(rig, name).exists() else []
    parts = ("payload", "inputs")
    return [
        found | {part: json.loads(found[part]) if found[part] else None for part in parts}
        for found in map(json.loads, lines)
    ]
