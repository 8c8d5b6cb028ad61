"""Clients die and are frozen at every stop: one run for each request, one answer, and each effect once (I47 to I56).

The operator dies at every await of the same cases in ``test_engine_every_await``, and their bugs are hunted in
``test_engine_mutants``.
"""

from __future__ import annotations

import pytest

from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble, play
from fuzz.engine.invariants import violations
from fuzz.engine.mutants import OF_CLIENTS
from fuzz.engine.profile import DEEP

FROZEN_SECONDS = 9.0
"""Longer than any lease of these cases."""


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
