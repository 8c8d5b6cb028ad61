"""``condition``: succeeds as soon as it starts; only its ``if`` has an effect. Source: StoryRun contract 11.7."""

from __future__ import annotations

import trio

from core.api.phases import Phase
from core.engine.context.step_context import StepContext
from core.engine.step.verdict import Verdict


async def run(context: StepContext) -> Verdict:
    await trio.lowlevel.checkpoint()
    now = context.now()
    return Verdict(Phase.SUCCEEDED, started_at=now, finished_at=now)
