"""How far loops of a Story may go: fixed, so that a Story means the same wherever it runs."""

from __future__ import annotations

from typing import Final

MAX_ITEMS: Final = 1000
"""Of the ``forEach`` of a ``parallel`` step."""
MAX_ITERATIONS: Final = 1000
"""Of an ``executeStory`` step with ``until``."""
MAX_ITEM_STEP_NAME: Final = 63 - len(f"-{MAX_ITEMS - 1}")
"""Characters of the name of the step that is run for each item: with the item's number it names a StepRun's step."""
