"""The size of the suite: bounded in ``make test``, larger with ``BOBRAPET_FUZZ_PROFILE=deep``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import ceil
from typing import Final, TypeVar

from hypothesis import HealthCheck, Phase, settings

DEEP: Final = os.environ.get("BOBRAPET_FUZZ_PROFILE") == "deep"

_T = TypeVar("_T")


def spread(every: Sequence[_T], most: int) -> Sequence[_T]:
    """At most ``most`` of these, evenly spread, the first one included; all of them in the deep profile."""
    return every if DEEP or not every else every[:: ceil(len(every) / most)]


def budget(bounded: int, deep: int) -> settings:
    """Settings for a property: the number of examples in each profile. The bounded profile is the same in every run."""
    return settings(
        max_examples=deep if DEEP else bounded,
        deadline=None,
        derandomize=not DEEP,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
