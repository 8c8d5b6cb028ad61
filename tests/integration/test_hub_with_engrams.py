"""The hub and streaming Engrams of the SDK, each a process: a source, a transform and a sink, some of them killed."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from tests.integration.stream_line import DEADLINE_SECONDS, TOPOLOGY, StreamLine, open_line, until

MESSAGES: Final = 1_500
WANTED: Final = {2 * number for number in range(MESSAGES)}
HUB_TEST: Final = """
import socket
real = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: real("127.0.0.1", *rest, **more)
"""
"""Every host is this machine."""
PROGRAMS: Final = {
    "count": f"""
        import time
        from bubu_sdk import stream

        @stream
        def main():
            for number in range({MESSAGES}):
                yield {{"n": number}}
                if number % 50 == 0:
                    time.sleep(0.02)

        main.run()
    """,
    "double": """
        from bubu_sdk import Messages, stream

        @stream
        def main(messages: Messages):
            for message in messages:
                yield {"n": message.data["n"] * 2}

        main.run()
    """,
    "keep": """
        import os
        import time
        from bubu_sdk import Messages, stream

        @stream
        def main(messages: Messages):
            pause = float(os.environ.get("PAUSE", "0"))
            with open(os.environ["KEPT"], "a", buffering=1) as file:
                for message in messages:
                    time.sleep(pause)
                    file.write(f"{message.data['n']}\\n")

        main.run()
    """,
}


TIMES: Final = """
    from bubu_sdk import Messages, stream

    @stream
    def main(messages: Messages):
        for message in messages:
            yield {"n": message.data["n"] * int(message.inputs["by"])}

    main.run()
"""
"""Its data are the payload, although it has inputs: they are its ``with``."""
JOINED: Final = """
runs:
  - namespace: team
    name: run-1
    story: numbers
    inputs: {by: 3}
    steps:
      - name: count
        binding: {name: count, uid: a}
      - name: double
        needs: [count]
        binding: {name: double, uid: b}
        with: {by: "{{ inputs.by }}"}
      - name: keep
        needs: [count, double]
        binding: {name: keep, uid: c}
        runtime: {n: "{{ steps.count.n }} {{ steps.double.n }}"}
"""
"""Nothing says that ``keep`` joins: its needs have the same source."""


@asynccontextmanager
async def open_sdk_line(
    folder: Path, *, tls: bool = False, topology: str = TOPOLOGY, **programs: str
) -> AsyncIterator[StreamLine]:
    commands = {}
    for step, text in (PROGRAMS | programs).items():
        program = folder / f"{step}.py"
        program.write_text((HUB_TEST if tls else "") + textwrap.dedent(text))
        commands[step] = [sys.executable, str(program)]
    async with open_line(folder, commands, tls=tls, topology=topology) as line:
        yield line


def kept(line: StreamLine) -> list[int]:
    return [int(text) for text in line.kept.read_text().splitlines()] if line.kept.exists() else []


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "TLS"])
async def test_every_message_of_a_source_comes_to_its_sink_once_and_in_order(tmp_path: Path, tls: bool) -> None:
    async with open_sdk_line(tmp_path, tls=tls) as line:
        for step in ("keep", "double"):
            await line.begin(step)
        source = await line.begin("count")
        await until(lambda: len(kept(line)) >= MESSAGES)
        with trio.fail_after(DEADLINE_SECONDS):
            assert await source.wait() == 0, "a source that returns has finished"

        assert kept(line) == sorted(WANTED)


async def test_steps_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    async with open_sdk_line(tmp_path) as line:
        for step in ("keep", "double", "count"):
            await line.begin(step)
        for share, step in ((0.2, "double"), (0.4, "keep"), (0.6, "double")):
            await until(lambda share=share: len(kept(line)) > share * MESSAGES)  # type: ignore[misc]
            await line.kill(step)
            await line.begin(step)
        await until(lambda: set(kept(line)) == WANTED)


async def test_a_hub_that_is_killed_with_a_backlog_loses_nothing(tmp_path: Path) -> None:
    """The source keeps its messages until the transform has them, and the transform until the sink has its outputs."""
    async with open_sdk_line(tmp_path) as line:
        for step in ("keep", "double", "count"):
            await line.begin(step, PAUSE="0.002")
        for share in (0.2, 0.4, 0.6):
            await until(lambda share=share: len(kept(line)) > share * MESSAGES)  # type: ignore[misc]
            await line.kill("hub")
            await line.begin_hub()
        await until(lambda: set(kept(line)) == WANTED)
        with trio.fail_after(DEADLINE_SECONDS):
            assert await line.running["count"].wait() == 0


async def test_a_wrong_token_ends_the_container_and_nothing_else(tmp_path: Path) -> None:
    async with open_sdk_line(tmp_path) as line:
        line.tokens["double"] = line.tokens["double"][:-4] + "AAAA"
        stranger = await line.begin("double")
        with trio.fail_after(DEADLINE_SECONDS):
            assert await stranger.wait() == 1
        assert line.running["hub"].poll() is None


async def test_branches_of_one_source_are_joined_and_with_comes_beside_each_packet(tmp_path: Path) -> None:
    async with open_sdk_line(tmp_path, topology=JOINED, double=TIMES) as line:
        await line.begin("keep")
        await line.begin("double", BUBU_WITH_IN_PACKETS="true")
        await line.begin("count")
        wanted = [f"{number} {3 * number}" for number in range(MESSAGES)]
        await until(lambda: line.kept.exists() and len(line.kept.read_text().splitlines()) >= MESSAGES)
        assert line.kept.read_text().splitlines() == wanted
