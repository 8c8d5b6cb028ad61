"""The path from the event of a StoryRun to the Job of its first step, as docs/architecture.md lists it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from core.api.resource import JOB
from tests.integration.operator_cluster import OperatorCluster, step

ROOT: Final = Path(__file__).parents[2]
MOST_HOPS: Final = 15


def documented_hops() -> list[str]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\d+\. `([\w.]+)`:", text, re.MULTILINE)


@contextmanager
def following(hops: list[str]) -> Iterator[list[str]]:
    """Records the hops that are called in this thread during the block, in order."""
    called: list[str] = []
    wanted = set(hops)

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(ROOT)):
            module = Path(frame.f_code.co_filename).relative_to(ROOT).with_suffix("")
            name = f"{'.'.join(module.parts)}.{frame.f_code.co_qualname}"
            if name in wanted:
                called.append(name)

    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(None)


async def test_an_event_comes_to_a_job_by_the_documented_hops(world: OperatorCluster) -> None:
    hops = documented_hops()
    assert 10 < len(hops) <= MOST_HOPS
    await world.engram("noop")
    await world.story("one-step", step("a", "noop"))
    async with world.operator():
        with following(hops) as called:
            await world.run("one", "one-step")

            async def job_exists() -> bool:
                return await world.names(JOB) == ["one-a"]

            await world.eventually(job_exists)
    at = -1
    for hop in hops:
        assert hop in called[at + 1 :], f"{hop} is not reached after {called[at] if at >= 0 else 'the event'}"
        at = called.index(hop, at + 1)
    own = hops[4:-1]  # hops that other objects share may have been called before
    assert sorted(own, key=called.index) == own
