"""Every case that once failed now ends correctly, killed at the moment that failed and at all others."""

from __future__ import annotations

import pytest

from fuzz.engine.cases import Trouble, differences, play
from fuzz.engine.corpus import Pinned, pinned_cases
from fuzz.engine.invariants import violations
from fuzz.engine.profile import spread

MOST_KILLS = 3
"""For one case, of the moments at which a death can make a difference, besides those of the case itself."""


@pytest.mark.parametrize("pinned", pinned_cases(), ids=lambda pinned: pinned.name)
def test_a_case_that_failed_once_passes_also_killed_anywhere(pinned: Pinned) -> None:
    calm = play(pinned.case, seed=pinned.seed)
    troubled = play(pinned.case, pinned.trouble, seed=pinned.seed)

    assert violations(calm) == []
    assert violations(troubled) == []
    if troubled.comparable_with(calm):
        assert differences(troubled, calm) == []
    for number in spread(calm.moments[0], MOST_KILLS):
        crashed = play(pinned.case, Trouble(kills=(number,)), seed=pinned.seed)

        assert violations(crashed) == [], f"killed at {number}"
