"""The size of the suite: bounded in ``make test``, larger with ``BOBRAPET_FUZZ_PROFILE=deep``."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

DEEP: Final = os.environ.get("BOBRAPET_FUZZ_PROFILE") == "deep"


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
