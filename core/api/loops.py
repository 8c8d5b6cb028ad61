"""The limits of loops and branches in a Story: fixed, so that a Story has the same meaning in every installation."""

from __future__ import annotations

from typing import Final

MAX_ITEMS: Final = 1000
"""Items of the ``forEach`` of a ``parallel`` step."""
MAX_BRANCHES: Final = 1000
"""Branches of one ``parallel`` step in v1beta1; v1alpha1 only bounds their size."""
MAX_ITERATIONS: Final = 1000
"""Iterations of an ``executeStory`` step with ``until``."""
MAX_ITEM_STEP_NAME: Final = 63 - len(f"-{MAX_ITEMS - 1}")
"""Length of the name of the step that runs for each item: together with the item's number it is a StepRun's step
name.
"""
