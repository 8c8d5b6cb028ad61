"""Compares what a run has cost with its budget. Pure.

Nothing here is a tolerance for our own requests: each is either always sent, or explained by a circumstance that the
audit log shows. Only Kubernetes has some room: its controllers and its node collect changes, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.e2e.write_budget.circumstances import Case, explained
from tests.e2e.write_budget.counting import Request, Sender, Sent, counted
from tests.e2e.write_budget.scenario_budgets import SLOPES, WARM_SLOPES, ScenarioBudget

EVENTS: Final = Request(Sender.OPERATOR, "create", "events")
LOAD: Final[Mapping[str, frozenset[str]]] = {
    "StoryRun": frozenset({"PermissionDenied", "StorageUnavailable"}),
    "Story": frozenset({"EngramReferenceInvalid", "StoryReferenceInvalid", "TemplateNotFound"}),
    "Engram": frozenset({"TemplateNotFound"}),
}
"""Reasons of Warnings that a slow machine can cause, by kind of their object: an API server that does not know new
rights yet, a store that answers late; and a definition that was seen before the one that it names, whose Event was
written late. These come in addition; every other Warning is one request too many.
"""
_ROOM, _ROOM_PER_POD = 2, 4
"""How many requests more than usual Kubernetes may send: for a namespace, and for each Pod. On a slow machine the
statuses of Pod and Job are written in more steps.
"""


class Warned(NamedTuple):
    """The kind of object that a Warning is about, and its reason."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Played:
    """What a scenario has cost."""

    sent: Sequence[Sent]
    """Since its run was created; in any order."""
    warned: Counter[Warned] = field(default_factory=Counter)

    @property
    def counted(self) -> Counter[Request]:
        return counted(self.sent)

    @property
    def ours(self) -> int:
        return sum(number for request, number in self.counted.items() if request.sender.is_ours)

    def by(self, sender: Sender) -> int:
        return sum(number for request, number in self.counted.items() if request.sender is sender)


def deviations(played: Played, budget: ScenarioBudget) -> list[str]:
    """Where the requests are not those of the budget, one line each; empty if all are."""
    found = played.counted
    strange = Counter({each: number for each, number in played.warned.items() if number > _expected(each, budget)})
    found[EVENTS] -= sum(number for each, number in strange.items() if each.reason in LOAD.get(each.kind, ()))
    ours = Counter({request: number for request, number in found.items() if request.sender.is_ours})
    allowed = budget.always + due_to_circumstances(played, budget)
    more = [f"{request}: {ours[request]}, but the budget allows {allowed[request]}" for request in ours - allowed]
    fewer = [
        f"{request}: {ours[request]}, but the budget says {budget.always[request]}; correct it"
        for request in budget.always - ours
    ]
    warnings = [
        f"Warning {each.reason} about a {each.kind}: {number}, but the budget says {_expected(each, budget)}"
        for each, number in strange.items()
        if each.reason not in LOAD.get(each.kind, ())
    ]
    return sorted(more + fewer + warnings) + _too_many_in_all(played, budget)


def due_to_circumstances(played: Played, budget: ScenarioBudget) -> Counter[Request]:
    """How many of ours were sent beyond those that always are, as far as the log explains them."""
    limits: Counter[tuple[Request, Case]] = Counter()
    for cost, times in budget.timed().items():
        assert cost.case is not None
        limits[cost.request, cost.case] += cost.most * times
    found: Counter[Request] = Counter()
    for (request, case), most in limits.items():
        found[request] += min(most, explained(case, request, played.sent))
    return found & (played.counted - budget.always)


def steady(played: Played, budget: ScenarioBudget, sender: Sender) -> int:
    """The requests of ``sender`` as they would be in usual circumstances, which only concern the operator."""
    timed = due_to_circumstances(played, budget)
    usual = budget.usual.timed if sender is Sender.OPERATOR else 0
    return played.by(sender) - sum(number for each, number in timed.items() if each.sender is sender) + usual


def slopes(played: Mapping[str, Played], budgets: Mapping[str, ScenarioBudget]) -> list[str]:
    """Where a further step costs more than it may, one line each."""

    def slope(few: str, many: str, sender: Sender) -> float:
        more = steady(played[many], budgets[many], sender) - steady(played[few], budgets[few], sender)
        return more / (steps_of(budgets[many]) - steps_of(budgets[few]))

    limits = {(few, many, Sender.OPERATOR): most for (few, many), most in SLOPES.items()}
    limits |= {("three_warm_steps", "eight_warm_steps", sender): most for sender, most in WARM_SLOPES.items()}
    found = {key: (slope(*key), most) for key, most in limits.items()}
    return [
        f"{sender}: {value:.2f} requests for each step of {many} beyond those of {few}, but {most} are allowed"
        for (few, many, sender), (value, most) in found.items()
        if value > most
    ]


def steps_of(budget: ScenarioBudget) -> int:
    return sum(number for part, number in budget.parts.items() if part.is_step)


def _expected(warned: Warned, budget: ScenarioBudget) -> int:
    return budget.warnings.get(warned.reason, 0) if warned.kind in ("StoryRun", "StepRun") else 0


def _owners_read(played: Played) -> int:
    """How often Kubernetes has read an object: its garbage collector asks for the owners of objects that it sees before
    them, so the number says how slow the machine is.
    """
    return sum(number for each, number in played.counted.items() if (each.sender, each.verb) == (Sender.CLUSTER, "get"))


def _too_many_in_all(played: Played, budget: ScenarioBudget) -> list[str]:
    excess = max(0, due_to_circumstances(played, budget).total() - budget.usual.timed)
    pods = played.counted[Request(Sender.CLUSTER, "create", "pods")]
    in_all = played.counted.total() - _owners_read(played)
    most = {
        "of ours": (played.ours, budget.usual.ours + excess),
        "in all": (in_all, budget.usual.in_all + excess + _ROOM + _ROOM_PER_POD * pods),
    }
    extra = sum(number for each, number in played.warned.items() if each.reason in LOAD.get(each.kind, ()))
    return [
        f"requests {what}: {number}, but {limit} are allowed"
        for what, (number, limit) in most.items()
        if number - extra > limit
    ]
