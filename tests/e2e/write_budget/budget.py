"""The budget: what each part of a run may cost in requests of ours, and why. The page shows it, ``judging`` applies it.

Requests that the runs of a Story share are parts of their own.
Source: docs/write-budget.md, which has the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.e2e.write_budget.circumstances import Case
from tests.e2e.write_budget.counting import Request, Sender

_O, _C = Sender.OPERATOR, Sender.CONTAINER


class Part(StrEnum):
    """What is paid for."""

    START = "the start of a run"
    END = "the end of a run"
    ACCOUNT = "the first run of a Story with containers"
    VERSION = "the first run of a version of a Story"
    COUNTS = "the counts of a Story"
    USES = "the counts of an Engram"
    STEP = "a step with a container"
    REPORT = "… whose container has the SDK"
    POOL = "the first step of a pool of warm workers"
    WARM = "a step in a warm worker"
    RETRY = "a retry"
    FAILURE = "a failed step"
    GATE = "a gate"
    TIMER = "a sleep, or a wait with a timeout"
    WAIT = "a wait without a timeout"
    CHILD = "a child run, beside its own start, end and steps"
    CANCEL = "a cancel, for each step at work"
    COMPENSATIONS = "compensations"
    STORED = "a step with the credentials of an object store"
    WAITING = "a run that waits, each minute"

    @property
    def is_step(self) -> bool:
        return self in (Part.STEP, Part.WARM)


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind of request of a part.

    ``case``: at most ``most`` are sent, each only because of that circumstance; otherwise exactly ``most`` are sent.
    """

    request: Request
    most: int
    why: str
    case: Case | None = None


def _cost(sender: Sender, verb: str, target: str, number: int, why: str) -> Cost:
    return Cost(Request(sender, verb, target), number, why)


def _most(sender: Sender, verb: str, target: str, most: int, case: Case, why: str) -> Cost:
    return Cost(Request(sender, verb, target), most, why, case)


BUDGET: Final[Mapping[Part, tuple[Cost, ...]]] = {
    Part.START: (
        _most(
            _O,
            "patch",
            "storyruns/status",
            1,
            Case.LASTS,
            "Phase, conditions, Story revision, and its first steps; unless it is over by then.",
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
        _cost(_O, "patch", "stories/status", 1, "`triggers`. All runs that start within two seconds share it."),
    ),
    Part.USES: (_cost(_O, "patch", "engrams/status", 1, "All steps that end within two seconds share it."),),
    Part.STEP: (
        _cost(_O, "create", "stepruns", 1, "The record of the step."),
        _cost(_O, "create", "jobs", 1, "Its container."),
        _cost(_O, "patch", "stepruns/status", 1, "Its end, with conditions, after its checks."),
        _most(_O, "patch", "stepruns/status", 1, Case.LONG, "`Running`, unless its container reports that."),
        _most(_O, "patch", "storyruns/status", 1, Case.APART, "Its state. All that happens within a second shares it."),
        _most(_O, "list", "pods", 1, Case.LATE, "Does an earlier Pod live?"),
        _most(_O, "get", "stepruns", 1, Case.LATE, "Is the attempt still wanted?"),
        _most(_O, "get", "storyruns", 1, Case.LATE, "Is the run?"),
        _most(_O, "patch", "engrams/status", 1, Case.ROUNDS, "Its Engram is counted every two seconds at most."),
    ),
    Part.REPORT: (
        _cost(_C, "get", "stepruns", 1, "Before it reports that it runs."),
        _cost(_C, "patch", "stepruns/status", 2, "That it runs, in this Pod; and its result."),
        _most(_C, "get", "stepruns", 1, Case.REFUSED, "Another client has written: `Running`, or a request to end."),
    ),
    Part.POOL: (
        _cost(_O, "create", "serviceaccounts", 1, "The account of the workers."),
        _cost(_O, "create", "rolebindings", 2, "Gives it the rights of containers, and those of workers."),
        _cost(_O, "create", "deployments", 1, "The workers."),
        _cost(_O, "patch", "stepruns", 1, "Assigns the step, which has waited for the first worker."),
        _most(_O, "patch", "storyruns/status", 1, Case.APART, "That it waits for a worker."),
        _cost(_C, "list", "stepruns", 1, "A worker begins to watch what is assigned to it."),
        _most(_C, "list", "stepruns", 1, Case.REFUSED, "The API server did not know its rights yet."),
    ),
    Part.WARM: (
        _cost(_O, "create", "stepruns", 1, "The record of the step, with its assignment."),
        _most(_O, "patch", "stepruns", 1, Case.HELD_UP, "Its assignment, if no worker had room."),
        _cost(_O, "patch", "stepruns/status", 1, "Its end, with conditions, after its checks."),
        _most(_O, "patch", "stepruns/status", 1, Case.LONG, "`Running`."),
        _most(_O, "patch", "storyruns/status", 1, Case.APART, "Its state. All that happens within a second shares it."),
        _most(_O, "patch", "engrams/status", 1, Case.ROUNDS, "Its Engram is counted every two seconds at most."),
        _cost(_C, "patch", "stepruns/status", 1, "Its result, and that its process has ended."),
        _most(_C, "get", "stepruns", 2, Case.REFUSED, "Another client has written: `Running`, or a request to end."),
    ),
    Part.RETRY: (
        _cost(_O, "patch", "stepruns/status", 1, "Counts the failure, with the instant of the next attempt."),
        _cost(_O, "create", "events", 2, "`StepRetryScheduled` about the run, `JobRetryScheduled` about the StepRun."),
        _cost(_O, "delete", "jobs", 1, "That of the failed attempt."),
        _cost(_O, "create", "jobs", 1, "That of the next one."),
        _cost(_O, "patch", "stepruns/status", 1, "`Running`: an SDK may not report a success from `Pending`."),
        _cost(_O, "list", "pods", 1, "Is the Pod of the failed attempt gone?"),
        _most(_O, "list", "pods", 3, Case.LINGERS, "The same again, less and less often."),
        _cost(_O, "get", "stepruns", 1, "Is the attempt still wanted?"),
        _cost(_O, "get", "storyruns", 1, "Is the run?"),
        _most(_O, "patch", "storyruns/status", 2, Case.APART, "Why the step waits, and that it runs again."),
    ),
    Part.FAILURE: (_cost(_O, "create", "events", 1, "Why the step has failed."),),
    Part.GATE: (
        _cost(_O, "create", "events", 1, "`GateWaiting`: a person is asked."),
        _most(_O, "patch", "storyruns/status", 2, Case.APART, "That it waits, and its decision."),
    ),
    Part.TIMER: (
        _cost(_O, "patch", "storyruns", 1, "Its instant, before it is awaited: a restart must not move it."),
        _most(
            _O, "patch", "storyruns/status", 1, Case.APART, "That the step waits, unless the start of the run has it."
        ),
    ),
    Part.WAIT: (
        _most(
            _O, "patch", "storyruns/status", 1, Case.APART, "That the step waits, unless the start of the run has it."
        ),
    ),
    Part.CHILD: (
        _cost(_O, "create", "storyruns", 1, "The child run."),
        _cost(_O, "get", "storyruns", 1, "Does it exist already?"),
        _most(_O, "patch", "storyruns/status", 1, Case.APART, "The name of the child in the run."),
    ),
    Part.CANCEL: (
        _cost(_O, "patch", "storyruns", 1, "The instant of the cancel."),
        _most(_O, "patch", "storyruns/status", 1, Case.APART, "That the run is being ended."),
        _cost(_O, "patch", "stepruns", 1, "The request to end, for programs that watch it."),
        _cost(_O, "delete", "jobs", 1, "Ends the container."),
    ),
    Part.COMPENSATIONS: (
        _cost(_O, "patch", "storyruns", 1, "Their deadline, before it is awaited."),
        _cost(_O, "patch", "storyruns/status", 1, "That the main steps have ended."),
    ),
    Part.STORED: (
        _cost(_O, "get", "secrets", 1, "The credentials of the operator's store."),
        _cost(_O, "create", "secrets", 1, "Their copy for the step, deleted with its StepRun."),
        _most(_C, "get", "stepruns", 1, Case.REFUSED, "As for its result."),
        _cost(_C, "patch", "stepruns/status", 1, "Where its log is stored."),
    ),
    Part.WAITING: (),
}
