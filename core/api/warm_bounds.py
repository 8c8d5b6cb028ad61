"""The values that the fields of warm workers may have.

The operator reads them without the models of ``core.api.warm``: their library takes 8 MiB, and a tenth of its start.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

WORKER_MODE: Final = "worker"
"""In ``supportedModes`` of a template: its image can serve as a warm worker."""
MAX_WORKERS: Final = 100
"""Workers of one pool."""
MAX_STEPS_OF_A_WORKER: Final = 64
"""Steps that one worker executes at a time."""

WorkerIsolation: TypeAlias = Literal["process", "task"]
