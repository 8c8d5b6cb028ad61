"""Rounds of the state machine, one after the other, in one process among several."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from multiprocessing.queues import Queue
from typing import Final

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from fuzz.engine.machine import EngineMachine
from fuzz.engine.profile import budget

ROUND: Final = 250
"""Executions between two looks at the clock."""

Report = tuple[Counter[str], str]


class LargeStories(EngineMachine):
    """Up to 30 steps."""


class SmallStories(EngineMachine):
    largest = 8


def work(seed: int, until: float, reports: Queue[Report]) -> None:
    """Rounds with seeds of ``seed``'s own until ``until`` (Unix time); sends what was covered and what failed."""
    logging.disable()  # what the operator complains of under faults is no news
    chance = random.Random(seed)
    failure = ""
    machines = (SmallStories, SmallStories, SmallStories, LargeStories)
    number = 0
    while time.time() < until and not failure:  # noqa: TID251 - how long a person waits
        machine = machines[number % len(machines)]
        number += 1
        machine._hypothesis_internal_use_seed = chance.getrandbits(64)
        chosen = settings(budget(ROUND, ROUND), derandomize=False, stateful_step_count=12)
        try:
            run_state_machine_as_test(machine, settings=chosen)
        except BaseException as error:  # whatever it is, it ends this worker and is told
            failure = f"{error}\n" + "\n".join(getattr(error, "__notes__", ()))
    reports.put((EngineMachine.covered, failure))
