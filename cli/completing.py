"""Whether a shell asks for completions instead of a user for a command. Imports almost nothing."""

from __future__ import annotations

import os
from typing import Final

COMPLETE_VARIABLE: Final = "_BOBRAPET_COMPLETE"
"""Set by the completion scripts when the shell requests completions."""


def is_completing() -> bool:
    return COMPLETE_VARIABLE in os.environ
