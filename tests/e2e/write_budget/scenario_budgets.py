"""What each scenario of the test may cost: its parts, and what is usual. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.e2e.write_budget.budget import BUDGET, Cost, Part
from tests.e2e.write_budget.counting import Request, Sender


class Usual(NamedTuple):
    """What a scenario costs on a machine that has time, as measured."""

    ours: int
    in_all: int
    """With those of Kubernetes."""
    timed: int = 1
    """How many of ours are explained by a circumstance: mostly the write at the start of the run."""


@dataclass(frozen=True, slots=True)
class ScenarioBudget:
    """The parts of a scenario."""

    parts: Mapping[Part, int]
    usual: Usual
    warnings: Mapping[str, int] = field(default_factory=dict)
    """The Warnings that belong to it, by reason; they are among its Events."""

    @property
    def always(self) -> Counter[Request]:
        """What is sent in any case."""
        return self._sum(lambda cost: cost.case is None)

    @property
    def most(self) -> Counter[Request]:
        """The most that may be sent of each kind, whatever the circumstances; of kinds that are not named, nothing."""
        return self._sum(lambda cost: True)

    def timed(self) -> Counter[Cost]:
        """The costs that depend on a circumstance: how many times ``most`` each may come."""
        found: Counter[Cost] = Counter()
        for part, number in self.parts.items():
            found.update({cost: number for cost in BUDGET[part] if cost.case is not None})
        return found

    def _sum(self, includes: Callable[[Cost], bool]) -> Counter[Request]:
        found: Counter[Request] = Counter()
        for part, number in self.parts.items():
            for cost in filter(includes, BUDGET[part]):
                found[cost.request] += cost.most * number
        return found


_BEGUN: Final[Mapping[Part, int]] = {Part.START: 1, Part.VERSION: 1, Part.COUNTS: 1}
_RUN: Final[Mapping[Part, int]] = {**_BEGUN, Part.END: 1}
_CONTAINERS: Final[Mapping[Part, int]] = {**_RUN, Part.ACCOUNT: 1, Part.USES: 1}
_RETRIES: Final[Mapping[str, int]] = {"JobRetryScheduled": 1, "StepRetryScheduled": 1}
_FAILURES: Final[Mapping[str, int]] = {"ExecutionFailed": 1, "Compensated": 1}

SCENARIOS: Final[Mapping[str, ScenarioBudget]] = {
    "one_step": ScenarioBudget({**_CONTAINERS, Part.STEP: 1}, Usual(12, 23)),
    "a_further_run": ScenarioBudget(
        {Part.START: 1, Part.END: 1, Part.STEP: 1, Part.COUNTS: 1, Part.USES: 1}, Usual(9, 19)
    ),
    "one_step_with_the_sdk": ScenarioBudget({**_CONTAINERS, Part.STEP: 1, Part.REPORT: 1}, Usual(15, 27)),
    "three_warm_steps": ScenarioBudget({**_CONTAINERS, Part.POOL: 1, Part.WARM: 3}, Usual(24, 39)),
    "eight_warm_steps": ScenarioBudget({**_CONTAINERS, Part.POOL: 1, Part.WARM: 8}, Usual(39, 54)),
    "five_steps_in_a_row": ScenarioBudget({**_CONTAINERS, Part.STEP: 5}, Usual(25, 76, timed=2)),
    "ten_branches": ScenarioBudget({**_CONTAINERS, Part.STEP: 10}, Usual(40, 145, timed=2)),
    "a_retry": ScenarioBudget({**_CONTAINERS, Part.STEP: 1, Part.RETRY: 1}, Usual(21, 43), _RETRIES),
    "an_approved_gate": ScenarioBudget({**_CONTAINERS, Part.STEP: 1, Part.GATE: 1}, Usual(13, 24)),
    "a_sleep": ScenarioBudget({**_RUN, Part.TIMER: 1}, Usual(7, 7)),
    "a_wait": ScenarioBudget({**_RUN, Part.TIMER: 1}, Usual(8, 8, timed=2)),
    "a_wait_without_timeout": ScenarioBudget({**_RUN, Part.WAIT: 1}, Usual(6, 6)),
    "a_child_run": ScenarioBudget({**dict.fromkeys(_RUN, 2), Part.CHILD: 1}, Usual(12, 12, timed=0)),
    "no_container": ScenarioBudget(_RUN, Usual(5, 5, timed=0)),
    "a_cancel": ScenarioBudget({**_CONTAINERS, Part.STEP: 1, Part.CANCEL: 1}, Usual(16, 31, timed=2)),
    "a_compensation": ScenarioBudget(
        {**_CONTAINERS, Part.USES: 2, Part.STEP: 2, Part.FAILURE: 1, Part.COMPENSATIONS: 1}, Usual(19, 41), _FAILURES
    ),
    "a_stored_output": ScenarioBudget(
        {**_CONTAINERS, Part.STEP: 1, Part.REPORT: 1, Part.STORED: 1}, Usual(19, 32, timed=2)
    ),
    "a_waiting_run": ScenarioBudget({**_BEGUN, Part.GATE: 1, Part.WAITING: 1}, Usual(5, 5)),
}
"""By the name of the function in ``scenarios`` that plays it."""
SLOPES: Final[Mapping[tuple[str, str], float]] = {
    ("one_step", "five_steps_in_a_row"): 3.3,
    ("one_step", "ten_branches"): 3.3,
}
"""What a further step with a container costs the operator: (few steps, many steps) → at most."""
WARM_SLOPES: Final[Mapping[Sender, float]] = {Sender.OPERATOR: 2.2, Sender.CONTAINER: 1.0}
"""What a further warm step costs each of us: the operator, and the SDK in the worker."""
