"""The budget: what each part of a run may cost in requests of ours, and why. The test counts by it; the page shows it.

A scenario is a number of parts; its limit is the sum of theirs. Requests that the runs of a Story share are parts of
their own.
Source: docs/write-budget.md, which has the same table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.e2e.write_budget.counting import Request, Sender

_O, _C = Sender.OPERATOR, Sender.CONTAINER


class Part(StrEnum):
    """What is paid for."""

    START = "the start of a run"
    END = "the end of a run"
    ACCOUNT = "the first run of a Story with containers"
    VERSION = "the first run of a version of a Story"
    COUNTS = "the counts of a Story"
    STEP = "a step with a container"
    REPORT = "… whose container has the SDK"
    POOL = "the first step of a pool of warm workers"
    WARM = "a step in a warm worker"
    RETRY = "a retry"
    FAILURE = "a failed step"
    GATE = "a gate"
    TIMER = "a sleep, or a wait with a timeout"
    CHILD = "a child run, beside its own start, end and steps"
    CANCEL = "a cancel, for each step at work"
    COMPENSATIONS = "compensations"
    STORED = "a step with the credentials of an object store"
    WAITING = "a run that waits, each minute"


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind of request of a part.

    ``varies``: ``most`` is an upper bound, and the reason says what it depends on; otherwise exactly ``most`` are sent.
    """

    request: Request
    most: int
    why: str
    varies: bool = False


def _cost(sender: Sender, verb: str, target: str, number: int, why: str) -> Cost:
    return Cost(Request(sender, verb, target), number, why)


def _most(sender: Sender, verb: str, target: str, most: int, why: str) -> Cost:
    return Cost(Request(sender, verb, target), most, why, varies=True)


BUDGET: Final[Mapping[Part, tuple[Cost, ...]]] = {
    Part.START: (
        _most(
            _O,
            "patch",
            "storyruns/status",
            1,
            "Phase, conditions, Story revision, and its first steps; unless it is over within 0.25 s, or while other "
            "steps wait for their turn to start.",
        ),
        _cost(_O, "create", "events", 1, "`StartingExecution`."),
    ),
    Part.END: (
        _cost(_O, "patch", "storyruns/status", 1, "Phase, conditions, output, and the end of its last steps."),
        _cost(_O, "create", "events", 1, "Its reason."),
    ),
    Part.ACCOUNT: (
        _cost(_O, "create", "serviceaccounts", 1, "The account of the containers of all its runs."),
        _cost(_O, "create", "rolebindings", 1, "Gives it the rights that every container has."),
    ),
    Part.VERSION: (_cost(_O, "create", "controllerrevisions", 1, "The copy of the Story that its runs execute."),),
    Part.COUNTS: (
        _most(_O, "patch", "stories/status", 1, "`triggers`. All runs that start within two seconds share one."),
    ),
    Part.STEP: (
        _cost(_O, "create", "stepruns", 1, "The record of the step."),
        _cost(_O, "create", "jobs", 1, "Its container."),
        _cost(_O, "patch", "stepruns/status", 1, "Its end, with conditions, after its checks."),
        _most(
            _O, "patch", "stepruns/status", 1, "`Running`, if it lasts two seconds and its container reports nothing."
        ),
        _most(_O, "patch", "storyruns/status", 1, "Its state in the run. All that happens within a second shares one."),
        _most(_O, "list", "pods", 1, "Does an earlier Pod live? Only if its Job is later than its StepRun by 0.25 s."),
        _most(_O, "get", "stepruns", 1, "Is the attempt still wanted? In the same case."),
        _most(_O, "get", "storyruns", 1, "In the same case."),
        _most(_O, "patch", "engrams/status", 2, "Counts of its Engram. All steps within two seconds share one."),
    ),
    Part.REPORT: (
        _cost(_C, "get", "stepruns", 1, "Before it reports that it runs."),
        _cost(_C, "patch", "stepruns/status", 2, "That it runs, in this Pod; and its result."),
        _most(_C, "get", "stepruns", 1, "If another client has written meanwhile: `Running`, or a request to end."),
        _most(_C, "patch", "stepruns/status", 1, "The report once more, in the same case."),
    ),
    Part.POOL: (
        _cost(_O, "create", "serviceaccounts", 1, "The account of the workers."),
        _cost(_O, "create", "rolebindings", 2, "Gives it the rights of containers, and those of workers."),
        _cost(_O, "create", "deployments", 1, "The workers."),
        _cost(_O, "patch", "stepruns", 1, "Assigns the step, which has waited for the first worker."),
        _most(_O, "patch", "storyruns/status", 1, "That it waits for a worker."),
        _most(_C, "list", "stepruns", 2, "A worker begins to watch what is assigned to it."),
    ),
    Part.WARM: (
        _cost(_O, "create", "stepruns", 1, "The record of the step, with its assignment."),
        _most(_O, "patch", "stepruns", 1, "Its assignment, if no worker has had room for two seconds."),
        _cost(_O, "patch", "stepruns/status", 1, "Its end, with conditions, after its checks."),
        _most(_O, "patch", "stepruns/status", 1, "`Running`, if it lasts two seconds."),
        _most(_O, "patch", "storyruns/status", 1, "Its state in the run. All that happens within a second shares one."),
        _most(_O, "patch", "engrams/status", 2, "Counts of its Engram. All steps within two seconds share one."),
        _cost(_C, "patch", "stepruns/status", 1, "Its result, and that its process has ended."),
        _most(_C, "patch", "stepruns/status", 1, "That it runs, if it lasts."),
        _most(_C, "get", "stepruns", 2, "If another client has written meanwhile: `Running`, or a request to end."),
    ),
    Part.RETRY: (
        _cost(_O, "patch", "stepruns/status", 1, "Counts the failure, with the instant of the next attempt."),
        _cost(_O, "create", "events", 2, "`StepRetryScheduled` about the run, `JobRetryScheduled` about the StepRun."),
        _cost(_O, "delete", "jobs", 1, "That of the failed attempt."),
        _cost(_O, "create", "jobs", 1, "That of the next one."),
        _most(_O, "patch", "stepruns/status", 1, "`Running`: an SDK may not report a success from `Pending`."),
        _most(_O, "list", "pods", 2, "Is the Pod of the failed attempt gone? Asked again while it ends."),
        _most(_O, "get", "stepruns", 2, "Is the attempt still wanted? With every such question."),
        _most(_O, "get", "storyruns", 2, "The same."),
        _most(_O, "patch", "storyruns/status", 2, "Why the step waits, and that it runs again."),
        _most(_O, "patch", "engrams/status", 1, "The counts once more, two seconds later."),
    ),
    Part.FAILURE: (_cost(_O, "create", "events", 1, "Why the step has failed."),),
    Part.GATE: (
        _cost(_O, "create", "events", 1, "`GateWaiting`: a person is asked."),
        _most(
            _O,
            "patch",
            "storyruns/status",
            3,
            "That it waits; its decision; and once more if that came while the operator wrote.",
        ),
    ),
    Part.TIMER: (
        _cost(_O, "patch", "storyruns", 1, "Its instant, before it is awaited: a restart must not move it."),
        _most(_O, "patch", "storyruns/status", 1, "That the step waits, unless the start of the run has it."),
    ),
    Part.CHILD: (
        _cost(_O, "create", "storyruns", 1, "The child run."),
        _most(_O, "get", "storyruns", 1, "Is the child still wanted? If the run shows its step already."),
        _most(_O, "patch", "storyruns/status", 1, "The name of the child in the run."),
    ),
    Part.CANCEL: (
        _most(_O, "patch", "storyruns", 2, "The instant of the cancel; once more if it was written meanwhile."),
        _cost(_O, "patch", "storyruns/status", 1, "That the run is being ended."),
        _cost(_O, "patch", "stepruns", 1, "The request to end, for programs that watch it."),
        _cost(_O, "delete", "jobs", 1, "Ends the container."),
    ),
    Part.COMPENSATIONS: (
        _cost(_O, "patch", "storyruns", 1, "Their deadline, before it is awaited."),
        _most(_O, "patch", "storyruns/status", 1, "That the main steps have ended."),
    ),
    Part.STORED: (
        _cost(_O, "get", "secrets", 1, "The credentials of the operator's store."),
        _cost(_O, "create", "secrets", 1, "Their copy for the step, deleted with its StepRun."),
        _most(_C, "get", "stepruns", 1, "As for its result."),
        _cost(_C, "patch", "stepruns/status", 1, "Where its log is stored."),
    ),
    Part.WAITING: (),
}


@dataclass(frozen=True, slots=True)
class ScenarioBudget:
    """The parts of a scenario."""

    parts: Mapping[Part, int]

    @property
    def most(self) -> Counter[Request]:
        """The most that may be sent of each kind; of kinds that are not named, nothing."""
        return self._sum(BUDGET)

    @property
    def least(self) -> Counter[Request]:
        """What is sent in any case: a budget that has more than that is out of date."""
        return self._sum({part: [cost for cost in costs if not cost.varies] for part, costs in BUDGET.items()})

    def _sum(self, costs: Mapping[Part, Sequence[Cost]]) -> Counter[Request]:
        found: Counter[Request] = Counter()
        for part, number in self.parts.items():
            for cost in costs[part]:
                found[cost.request] += cost.most * number
        return found


def deviations(sent: Mapping[Request, int], budget: ScenarioBudget) -> list[str]:
    """Where the requests of ours are not those of the budget, one line each; empty if all are."""
    ours = Counter({request: number for request, number in sent.items() if request.sender.is_ours})
    more = [
        f"{request}: {ours[request]}, but the budget allows {budget.most[request]}" for request in ours - budget.most
    ]
    fewer = [
        f"{request}: {ours[request]}, but the budget says {budget.least[request]}; correct it"
        for request in budget.least - ours
    ]
    return sorted(more + fewer)


_BEGUN: Final[Mapping[Part, int]] = {Part.START: 1, Part.VERSION: 1, Part.COUNTS: 1}
_RUN: Final[Mapping[Part, int]] = {**_BEGUN, Part.END: 1}
_CONTAINERS: Final[Mapping[Part, int]] = {**_RUN, Part.ACCOUNT: 1}

SCENARIOS: Final[Mapping[str, ScenarioBudget]] = {
    name: ScenarioBudget(parts)
    for name, parts in {
        "one_step": {**_CONTAINERS, Part.STEP: 1},
        "one_step_with_the_sdk": {**_CONTAINERS, Part.STEP: 1, Part.REPORT: 1},
        "three_warm_steps": {**_CONTAINERS, Part.POOL: 1, Part.WARM: 3},
        "five_steps_in_a_row": {**_CONTAINERS, Part.STEP: 5},
        "ten_branches": {**_CONTAINERS, Part.STEP: 10},
        "a_retry": {**_CONTAINERS, Part.STEP: 1, Part.RETRY: 1},
        "an_approved_gate": {**_CONTAINERS, Part.STEP: 1, Part.GATE: 1},
        "a_sleep": {**_RUN, Part.TIMER: 1},
        "a_child_run": {**dict.fromkeys(_RUN, 2), Part.CHILD: 1},
        "no_container": _RUN,
        "a_cancel": {**_CONTAINERS, Part.STEP: 1, Part.CANCEL: 1},
        "a_compensation": {**_CONTAINERS, Part.STEP: 2, Part.FAILURE: 1, Part.COMPENSATIONS: 1},
        "a_stored_output": {**_CONTAINERS, Part.STEP: 1, Part.REPORT: 1, Part.STORED: 1},
        "a_waiting_run": {**_BEGUN, Part.GATE: 1, Part.WAITING: 1},
    }.items()
}
"""By the name of the function in ``scenarios`` that plays it."""
EVENTS: Final = Request(Sender.OPERATOR, "create", "events")
WARNINGS: Final[Mapping[str, int]] = {"a_retry": 2, "a_compensation": 2}
"""Warnings that the budget of a scenario contains. Others tell of trouble, such as an API server that answers late, and
come in addition.
"""
