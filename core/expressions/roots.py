"""The first names of paths. Source: templating contract 3.1; those of loops and containers are extensions."""

from __future__ import annotations

from typing import Final

INPUTS: Final = "inputs"
STEPS: Final = "steps"
PACKET: Final = "packet"

ITEM: Final = "item"
ITEM_INDEX: Final = "itemIndex"
OF_ITEMS: Final = frozenset({ITEM, ITEM_INDEX})
"""Below a ``parallel`` step with ``forEach``; the number of an item is not called ``index``, which is a function."""

PREVIOUS: Final = "previous"
ITERATION: Final = "iteration"
OF_ITERATIONS: Final = frozenset({PREVIOUS, ITERATION})
"""In the inputs and the condition of an ``executeStory`` step with ``until``."""

ROOTS: Final = (INPUTS, STEPS, PACKET, ITEM, ITEM_INDEX, PREVIOUS, ITERATION)

STEP: Final = "step"
RUN: Final = "run"
OF_CONTAINERS: Final = frozenset({STEP, RUN})
"""In the arguments and variables of a container without an SDK."""

ENGRAM: Final = "engram"
OF_CACHE_KEYS: Final = frozenset({STEP, ENGRAM})
"""In the key of an output cache, which has no ``run``."""

TEMPLATE_ROOTS: Final = (*ROOTS, STEP, RUN, ENGRAM)
"""The first names of paths in templates; conditions in CEL have those of ``ROOTS``."""
