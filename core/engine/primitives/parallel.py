"""``parallel``: runs its branches at the same time, each as a step, and ends when all of them have ended.

With ``forEach`` it has one branch, which runs for each item of a list. ``maxConcurrency`` limits how many run at a
time. Its output is ``{branch: output}``, or ``{"items": [output, …]}`` in the order of the list. Source: StoryRun
contract 11.4; nested primitives, ``if``, the limit, the output and ``forEach`` are our additions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import trio

from core.api.conditions import truncated
from core.api.loops import MAX_ITEMS
from core.api.objects import Object
from core.api.phases import Phase, Reason
from core.engine.context.step_context import StepContext
from core.engine.plan import StepPlan
from core.engine.ports import StepError
from core.engine.primitives.settle import settle_whole
from core.engine.status.state import RunState
from core.engine.step.endings import MAX_CAUSE_LENGTH
from core.engine.step.manifest import step_run_name
from core.engine.step.state import StepState
from core.engine.step.verdict import Verdict, failed
from core.story.kinds import StepKind, is_count
from core.story.step import MAX_BRANCH_DEPTH

MAX_STEPS_OF_RUN: Final = 5000
"""Limit of steps and branches together; the status must fit into an object."""


class BranchRunner(Protocol):
    """Runs branches, each as a step: ``begin``, ``run``, ``finish``."""

    def begin(self, step: StepPlan) -> StepContext:
        """The branch starts now."""

    async def run(self, context: StepContext) -> bool:
        """From the current state of the branch to the record of its end; False if the run ends with it."""

    def finish(self, step: StepPlan) -> None:
        """Everything that follows from the end of the branch has been started."""


async def run(context: StepContext, runner: BranchRunner) -> Verdict:
    bound = _bound(context.step)
    branches = await _branches(context) if not isinstance(bound, StepError) else bound
    if isinstance(branches, StepError):
        return failed(branches.reason, branches.message)
    if not branches:
        context.variables.give(context.step.name, _output(context, branches))
        return Verdict(Phase.SUCCEEDED, "The list of items is empty", started_at=context.now())
    assert not isinstance(bound, StepError)
    if len(context.state.steps or ()) + len(branches) > MAX_STEPS_OF_RUN:
        text = f"more than {MAX_STEPS_OF_RUN} steps and branches in one run; move some of them to another Story"
        return failed(Reason.INVALID_CONFIGURATION, text)
    _announce(context, branches)
    await _Branches(context, branches, bound or len(branches), runner).run()
    return _verdict(context, branches)


def past_output(context: StepContext, recorded: StepState, _: Object | None) -> dict[str, Any] | None:
    """The outputs of its branches must be known."""
    if recorded.phase not in (Phase.SUCCEEDED, Phase.FAILED):
        return None
    return _output(context, branches_begun(context.step, context.state))


def branches_begun(step: StepPlan, state: RunState) -> list[StepPlan]:
    """The branches of a ``parallel`` step; of a ``forEach``, those that are recorded."""
    if "forEach" not in step.parameters or not step.branches:
        return list(step.branches)
    prefix = f"{step.name}/"
    numbers = sorted(
        int(name.removeprefix(prefix))
        for name in state.steps or ()
        if name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
    )
    return [step.branches[0].for_item(number, None) for number in numbers]


def _output(context: StepContext, branches: Iterable[StepPlan]) -> dict[str, Any]:
    """``{branch: output}``; for a ``forEach``, ``{"items": [output, …]}`` in the order of the list.

    An item without output because it was skipped, or failed and may fail, is None: ``{}`` is the output of one that
    succeeded.
    """
    outputs = {branch.name: dict(context.variables.output_of(branch.name)) for branch in branches}
    if "forEach" not in context.step.parameters:
        return {branch.parts[-1]: outputs[branch.name] for branch in branches}
    ends = ((context.state.step(name), output) for name, output in outputs.items())
    return {"items": [output if output or (end and end.phase is Phase.SUCCEEDED) else None for end, output in ends]}


def _bound(step: StepPlan) -> int | StepError:
    """``maxConcurrency``; 0: no limit."""
    bound = step.parameters.get("maxConcurrency")
    if bound is None:
        return 0
    if is_count(bound):
        return int(bound)
    return StepError(Reason.INVALID_CONFIGURATION, "with.maxConcurrency must be a whole number from 1")


async def _branches(context: StepContext) -> Sequence[StepPlan] | StepError:
    """The branches; with ``forEach``, one for each item."""
    step = context.step
    declared = step.parameters.get("steps")
    if not isinstance(declared, list) or len(declared) != len(step.branches):
        text = f"with.steps must be a list of steps with a name each, and no deeper than {MAX_BRANCH_DEPTH} levels"
        return StepError(Reason.INVALID_CONFIGURATION, text)
    names = [branch.name for branch in step.branches]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        return StepError(Reason.INVALID_CONFIGURATION, f"with.steps: the name {twice.rpartition('/')[2]!r} is taken")
    if "forEach" not in step.parameters:
        return step.branches
    if len(step.branches) != 1:
        return StepError(Reason.INVALID_CONFIGURATION, "with.steps must have exactly one step when forEach is given")
    answer = await settle_whole(context, step.parameters["forEach"], "with.forEach")
    if isinstance(answer, StepError):
        return answer
    items = answer.value
    if not isinstance(items, list) or len(items) > MAX_ITEMS:
        what = f"has {len(items)} items" if isinstance(items, list) else "is not a list"
        text = f"with.forEach {what}; give a list of at most {MAX_ITEMS} items"
        return StepError(Reason.INVALID_CONFIGURATION, text)
    return [step.branches[0].for_item(number, item) for number, item in enumerate(items)]


def _announce(context: StepContext, branches: Sequence[StepPlan]) -> None:
    """Record that the step runs, and the StepRuns that it will have."""
    step_runs = tuple(
        step_run_name(context.run_name, branch.name) for branch in branches if branch.kind is StepKind.ENGRAM
    )
    text = f"Running {len(branches)} {'branch' if len(branches) == 1 else 'branches'}"
    context.set_message(text)
    if step_runs:
        context.status.apply(context.state.children_started(context.step.name, step_runs))


class _Branches:
    """The running branches, at most ``bound`` at a time. Branches that had started before continue, however many."""

    def __init__(self, context: StepContext, branches: Sequence[StepPlan], bound: int, runner: BranchRunner) -> None:
        self._context = context
        self._runner = runner
        self._started = [branch for branch in branches if _is_running(context, branch)]
        self._pending = deque(branch for branch in branches if context.state.step(branch.name) is None)
        self._bound = bound
        self._running = 0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for branch in self._started:
                self._start(branch, nursery)
            self._fill(nursery)
            if nursery.child_tasks:
                self._context.run_context.progress.rests(self._context.step.name)

    def _fill(self, nursery: trio.Nursery) -> None:
        while self._pending and self._running < self._bound:
            self._start(self._pending.popleft(), nursery)

    def _start(self, branch: StepPlan, nursery: trio.Nursery) -> None:
        self._running += 1
        self._context.run_context.progress.started(branch.name)
        nursery.start_soon(self._live, branch, nursery, name=f"branch {branch.name}")

    async def _live(self, branch: StepPlan, nursery: trio.Nursery) -> None:
        await self._runner.run(self._runner.begin(branch))
        self._running -= 1
        self._fill(nursery)  # before ``finish``, which may report that no step runs
        self._runner.finish(branch)


def _is_running(context: StepContext, branch: StepPlan) -> bool:
    state = context.state.step(branch.name)
    return state is not None and not state.phase.terminal


def _verdict(context: StepContext, branches: Sequence[StepPlan]) -> Verdict:
    context.variables.give(context.step.name, _output(context, branches))
    phases = {branch.name: _phase(context, branch) for branch in branches}
    failing = [branch for branch in branches if phases[branch.name].failing]
    bad = [branch.parts[-1] for branch in failing if not branch.allow_failure]
    if bad:
        many = "branch" if len(bad) == 1 else "branches"
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        first = next(branch for branch in failing if not branch.allow_failure)
        state = context.state.step(first.name)
        why = truncated(state.message, MAX_CAUSE_LENGTH) if state is not None else ""
        which = f"; {bad[0]}: " if len(bad) > 1 else ": "
        return Verdict(Phase.FAILED, f"{many} {', '.join(bad[:10])}{more} failed" + (f"{which}{why}" if why else ""))
    if failing:
        allowed = [branch.parts[-1] for branch in failing]
        more = f" and {len(allowed) - 10} more" if len(allowed) > 10 else ""
        return Verdict(Phase.SUCCEEDED, f"Allowed to fail: {', '.join(allowed[:10])}{more}")
    return Verdict(Phase.SUCCEEDED)


def _phase(context: StepContext, branch: StepPlan) -> Phase:
    state = context.state.step(branch.name)
    assert state is not None, "every branch has been recorded"
    return state.phase
