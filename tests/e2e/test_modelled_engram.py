"""The hub and a container that behaves as an unmodified container of the Go SDK does, on grpc-go.

The container (``control_plane/toolchain/modelled-engram``) has the buffers, the dropped receipts, the duplicates, the
reconnects and the exit codes of that SDK. It is not that SDK: it is written from what the SDK is known to do.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from tests.e2e.control_plane.binaries import MissingBinariesError, ensure_tool
from tests.integration.stream_line import DEADLINE_SECONDS, StreamLine, open_line, until
from tests.integration.test_hub_with_engrams import HUB_TEST, PROGRAMS

MESSAGES: Final = 1_500
WANTED: Final = [2 * number for number in range(MESSAGES)]
BACK_SECONDS: Final = 5.0
"""A client of the Go SDK tries again after 0.5, then 1, then 2 seconds; a new hub takes about one to start."""
_AT_END: Final = re.compile(r"sessions=(\d+) duplicates=(\d+) lostReceipts=(\d+)")


@pytest.fixture(scope="module")
def engram() -> str:
    try:
        return str(ensure_tool("modelled-engram"))
    except MissingBinariesError as error:
        pytest.skip(str(error))


@asynccontextmanager
async def line_of(
    folder: Path, engram: str, *, tls: bool = False, python: Sequence[str] = (), pause: str = "20ms"
) -> AsyncIterator[StreamLine]:
    """The line of modelled containers; those in ``python`` are on the Python SDK instead."""
    commands: dict[str, list[str]] = {
        "count": [engram, "count", str(MESSAGES), pause],
        "double": [engram, "double"],
        "keep": [engram, "keep", str(folder / "kept")],
    }
    for step in python:
        program = folder / f"{step}.py"
        program.write_text((HUB_TEST if tls else "") + textwrap.dedent(PROGRAMS[step]))
        commands[step] = [sys.executable, str(program)]
    async with open_line(folder, commands, tls=tls) as line:
        yield line


def kept(line: StreamLine) -> list[int]:
    if not line.kept.exists():
        return []
    whole = line.kept.read_text().rpartition("\n")[0]  # a line may be written just now
    return [json.loads(text)["n"] if text.startswith("{") else int(text) for text in whole.splitlines()]


async def ended(line: StreamLine, step: str) -> tuple[int, int, int]:
    """End a container as Kubernetes does; returns its sessions, duplicates and lost receipts."""
    process = line.running[step]
    process.terminate()
    with trio.fail_after(DEADLINE_SECONDS):
        assert await process.wait() == 1, "a container of the Go SDK that is asked to end exits with 1"
    found = _AT_END.findall(line.log_of(step))[-1]
    return int(found[0]), int(found[1]), int(found[2])


@pytest.mark.parametrize(
    ("tls", "python"),
    [(False, ()), (True, ()), (False, ("double",)), (True, ("count", "keep"))],
    ids=["plaintext", "TLS", "a Python transform", "a Go transform, TLS"],
)
async def test_every_message_comes_once_and_in_order(
    tmp_path: Path, engram: str, tls: bool, python: Sequence[str]
) -> None:
    async with line_of(tmp_path, engram, tls=tls, python=python) as line:
        for step in ("keep", "double", "count"):
            await line.begin(step)
        await until(lambda: len(kept(line)) >= MESSAGES)
        assert kept(line) == WANTED
        for step in {"count", "double", "keep"}.difference(python):
            assert await ended(line, step) == (1, 0, 0)


async def test_containers_that_are_killed_lose_nothing(tmp_path: Path, engram: str) -> None:
    async with line_of(tmp_path, engram) as line:
        for step in ("keep", "double", "count"):
            await line.begin(step)
        for share, step in ((0.2, "double"), (0.4, "keep"), (0.6, "double")):
            await until(lambda share=share: len(kept(line)) > share * MESSAGES)  # type: ignore[misc]
            await line.kill(step)
            await line.begin(step)
        await until(lambda: set(kept(line)) == set(WANTED))


async def test_a_slow_container_holds_its_source_and_loses_no_receipt(tmp_path: Path, engram: str) -> None:
    """The window of the hub is never larger than the queue of receipts, which drops what does not fit."""
    async with line_of(tmp_path, engram, pause="0ms") as line:
        line.commands = {**line.commands, "keep": [*line.commands["keep"], "1ms"]}
        for step in ("keep", "double", "count"):
            await line.begin(step)
        await until(lambda: len(kept(line)) >= MESSAGES)
        assert kept(line) == WANTED
        for step in ("count", "double", "keep"):
            assert await ended(line, step) == (1, 0, 0)


async def test_the_same_containers_go_on_with_the_next_hub(tmp_path: Path, engram: str) -> None:
    async with line_of(tmp_path, engram) as line:
        for step in ("keep", "double", "count"):
            await line.begin(step, BUBU_GRPC_RECONNECT_BASE_BACKOFF="500ms")
        await until(lambda: len(kept(line)) > 0.2 * MESSAGES)
        await line.kill("hub")
        killed_at = trio.current_time()
        before = len(kept(line))
        await line.begin_hub()
        await until(lambda: len(kept(line)) > before, seconds=BACK_SECONDS)
        print(f"streaming again {trio.current_time() - killed_at:.1f} s after the hub was killed")
        await until(lambda: kept(line)[-1] == WANTED[-1])
        for step in ("count", "double", "keep"):
            sessions, _, lost = await ended(line, step)
            assert (sessions, lost) == (2, 0)


async def test_a_wrong_token_ends_the_container_at_once(tmp_path: Path, engram: str) -> None:
    async with line_of(tmp_path, engram) as line:
        line.tokens["double"] = line.tokens["double"][:-4] + "AAAA"
        stranger = await line.begin("double", BUBU_GRPC_RECONNECT_MAX_RETRIES="-1")
        with trio.fail_after(DEADLINE_SECONDS):
            assert await stranger.wait() == 1
        assert "sessions=0" in line.log_of("double")


async def test_a_container_that_is_replaced_ends_and_stays_away(tmp_path: Path, engram: str) -> None:
    """Else the two would take the step from each other for ever."""
    async with line_of(tmp_path, engram) as line:
        first = await line.begin("double", BUBU_GRPC_RECONNECT_MAX_RETRIES="-1")
        await until(lambda: "streaming" in line.log_of("double"))
        second = await line.begin("double", BUBU_GRPC_RECONNECT_MAX_RETRIES="-1")
        with trio.fail_after(DEADLINE_SECONDS):
            assert await first.wait() == 1
        assert second.poll() is None
