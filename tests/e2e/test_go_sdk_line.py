"""The hub and containers on the unmodified Go SDK, each a process: killed, slow, replaced, mixed with the Python SDK.

The containers are ``control_plane/toolchain/go-engram-0.1.5``, built with two versions of the SDK.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from tests.integration.stream_line import DEADLINE_SECONDS, TOPOLOGY, StreamLine, open_line, until
from tests.integration.test_hub_with_engrams import HUB_TEST, PROGRAMS
from tools.control_plane.binaries import ensure_tool

MESSAGES: Final = 1_500
WANTED: Final = [2 * number for number in range(MESSAGES)]
CONTAINER: Final = {
    "BUBU_GRPC_CHANNEL_BUFFER_SIZE": "64",
    "BUBU_GRPC_DIAL_TIMEOUT": "1h",
    "BUBU_GRPC_RECONNECT_MAX_RETRIES": "-1",
    "BUBU_GRPC_RECONNECT_MAX_BACKOFF": "2s",
    "BUBU_TRANSPORT_SECURITY_MODE": "tls",
}
"""As the operator sets them."""
BUFFERED: Final = TOPOLOGY.replace("        binding:", "        channelBuffer: 64\n        binding:")
BACK_SECONDS: Final = 30.0
"""Until a hub that has started again has clients: a limit for hanging."""


@asynccontextmanager
async def line_of(
    folder: Path, *, tls: bool = False, python: Sequence[str] = (), pause: str = "1ms"
) -> AsyncIterator[StreamLine]:
    """The line of containers on the Go SDK; those in ``python`` are on the Python SDK instead."""
    earlier, later = str(ensure_tool("go-engram-0.1.4")), str(ensure_tool("go-engram-0.1.5"))
    commands: dict[str, list[str]] = {
        "count": [later, "source", str(MESSAGES), pause],
        "double": [earlier, "transform"],
        "keep": [later, "sink", str(folder / "kept")],
    }
    for step in python:
        program = folder / f"{step}.py"
        program.write_text((HUB_TEST if tls else "") + textwrap.dedent(PROGRAMS[step]))
        commands[step] = [sys.executable, str(program)]
    async with open_line(folder, commands, tls=tls, topology=BUFFERED) as line:
        yield line


async def begin(line: StreamLine, *steps: str) -> None:
    for step in steps:
        await line.begin(step, **CONTAINER)


def kept(line: StreamLine) -> list[int]:
    if not line.kept.exists():
        return []
    whole = line.kept.read_text().rpartition("\n")[0]  # a line may be written just now
    return [int(float(text.split()[0])) for text in whole.splitlines()]


@pytest.mark.parametrize("python", [("double",), ("count", "keep")], ids=["a Python transform", "a Go transform"])
async def test_every_message_comes_once_and_in_order(tmp_path: Path, python: Sequence[str]) -> None:
    async with line_of(tmp_path, python=python) as line:
        await begin(line, "keep", "double", "count")
        await until(lambda: len(kept(line)) >= MESSAGES)
        assert kept(line) == WANTED


async def test_containers_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    async with line_of(tmp_path) as line:
        await begin(line, "keep", "double", "count")
        for share, step in ((0.2, "double"), (0.4, "keep"), (0.6, "double")):
            await until(lambda share=share: len(kept(line)) > share * MESSAGES)  # type: ignore[misc]
            await line.kill(step)
            await begin(line, step)
        await until(lambda: set(kept(line)) == set(WANTED))


async def test_the_same_containers_go_on_with_the_next_hub(tmp_path: Path) -> None:
    """Behind a source on the Python SDK nothing is lost but what the transform had not sent."""
    async with line_of(tmp_path, python=("count",)) as line:
        await begin(line, "keep", "double", "count")
        await until(lambda: len(kept(line)) > 0.2 * MESSAGES)
        running = dict(line.running)
        await line.kill("hub")
        before = len(kept(line))
        await line.begin_hub()
        await until(lambda: len(kept(line)) > before, seconds=BACK_SECONDS)
        await until(lambda: kept(line)[-1] == WANTED[-1])
        assert [running[step].poll() for step in ("double", "keep")] == [None, None]


async def test_a_wrong_token_ends_the_container_at_once(tmp_path: Path) -> None:
    async with line_of(tmp_path) as line:
        line.tokens["double"] = line.tokens["double"][:-4] + "AAAA"
        stranger = await line.begin("double", **CONTAINER)
        with trio.fail_after(DEADLINE_SECONDS):
            assert await stranger.wait() == 1
        assert "is not valid" in line.log_of("double")


async def test_one_of_two_containers_of_a_step_ends_and_stays_away(tmp_path: Path) -> None:
    """Else the two would take the step from each other for ever.

    Usually the first ends. Its SDK connects again if one of its sends meets the end of the call before the status is
    read; then it is the newer one, and the second ends.
    """
    async with line_of(tmp_path) as line:
        await begin(line, "keep", "double", "count")
        first = line.running["double"]
        await until(lambda: len(kept(line)) > 10)
        await begin(line, "double")
        both = (first, line.running["double"])
        await until(lambda: sorted(each.poll() is None for each in both) == [False, True])
        assert [each.poll() for each in both if each.poll() is not None] == [1]
        assert "another client serves the step now" in line.log_of("double")
        await until(lambda: len(kept(line)) >= MESSAGES)
        assert sorted(each.poll() is None for each in both) == [False, True]
