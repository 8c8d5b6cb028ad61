"""Clients die and are frozen at every stop, and every request fails: one run for each request of a client, one answer,
and each effect once (I47 to I56).

The operator dies at every await of the same cases in ``test_engine_every_await``, and their bugs are hunted in
``test_engine_mutants``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble, play
from fuzz.engine.invariants import violations
from fuzz.engine.mutants import OF_CLIENTS
from fuzz.engine.process import Fault
from fuzz.engine.profile import DEEP

FROZEN_SECONDS = 9.0
"""Longer than any lease of these cases."""
FAULTS = (
    (Fault.LOST_ANSWER, Fault.ERROR_APPLIED),
    (Fault.UNAVAILABLE, Fault.STALE, Fault.ERROR, Fault.BUSY, Fault.FULL),
    (Fault.SLOW, Fault.LATE_ANSWER, Fault.TIMEOUT),
)
"""Requests that take effect although their sender gets an error; that do not; that take time."""


def faults_of(number: int, most: int = len(FAULTS)) -> Iterator[Fault]:
    """The faults of the request of that number: one of each group, in turn, of ``most`` groups, in turn as well."""
    for turn in range(number, number + (len(FAULTS) if DEEP else most)):
        group = FAULTS[turn % len(FAULTS)]
        yield from group if DEEP else (group[number % len(group)],)


@pytest.mark.parametrize("case", OF_CLIENTS.values(), ids=OF_CLIENTS.keys())
def test_a_client_may_die_or_be_frozen_at_any_stop(case: Case) -> None:
    calm = play(case, Trouble(heals=True))
    assert calm.clients is not None
    fates = calm.clients.fates
    for stop in range(1, fates.stops + 1) if DEEP else fates.moments:
        died = play(case, Trouble(client_kills=(stop,), heals=True))
        frozen = play(case, Trouble(client_freezes={stop: FROZEN_SECONDS}, heals=True))

        assert violations(died) == [], f"died at {stop}"
        assert violations(frozen) == [], f"frozen at {stop}"


@pytest.mark.parametrize("case", OF_CLIENTS.values(), ids=OF_CLIENTS.keys())
def test_any_request_of_a_client_may_fail(case: Case) -> None:
    calm = play(case, Trouble(heals=True))
    assert calm.clients is not None
    for number in range(1, calm.clients.fates.requests + 1):
        for fault in faults_of(number):
            failed = play(case, Trouble(client_faults={number: fault}, heals=True))

            assert violations(failed) == [], f"request {number}: {fault}"


@pytest.mark.parametrize("case", OF_CLIENTS.values(), ids=OF_CLIENTS.keys())
def test_any_request_of_the_operator_may_fail_while_clients_wait(case: Case) -> None:
    calm = play(case, Trouble(heals=True))
    for number in range(calm.calls):
        for fault in faults_of(number, most=2):
            failed = play(case, Trouble(faults=({number: fault},), heals=True))

            assert violations(failed) == [], f"request {number}: {fault}"
