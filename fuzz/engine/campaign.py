"""Runs rounds of the state machine, one after the other, in one of several processes."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from multiprocessing.queues import Queue
from typing import Final

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from fuzz.engine.client_machine import ClientMachine
from fuzz.engine.machine import EngineMachine
from fuzz.engine.profile import budget
from fuzz.engine.stream_machine import StreamMachine

ROUND: Final = 250
"""Executions between two checks of the clock."""

Report = tuple[Counter[str], str]


class LargeStories(EngineMachine):
    """Up to 30 steps."""


class SmallStories(EngineMachine):
    largest = 8


def work(seed: int, until: float, reports: Queue[Report]) -> None:
    """Run rounds, with seeds derived from ``seed``, until ``until`` (Unix time); send the coverage and the failures."""
    logging.disable()  # complaints of the operator about faults are expected
    chance = random.Random(seed)
    failure = ""
    machines = (SmallStories, ClientMachine, StreamMachine, ClientMachine, SmallStories, LargeStories)
    number = 0
    while time.time() < until and not failure:  # noqa: TID251 - how long a person waits
        machine = machines[number % len(machines)]
        number += 1
        machine._hypothesis_internal_use_seed = chance.getrandbits(64)
        chosen = settings(budget(ROUND, ROUND), derandomize=False, stateful_step_count=12)
        try:
            run_state_machine_as_test(machine, settings=chosen)
        except BaseException as error:  # any error ends this worker and is reported
            failure = f"{error}\n" + "\n".join(getattr(error, "__notes__", ()))
    reports.put((EngineMachine.covered, failure))
