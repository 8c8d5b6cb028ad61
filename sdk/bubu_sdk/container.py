"""What the container of a batch engram does: one step, or as a warm worker many."""

from __future__ import annotations

import os
from typing import NoReturn

from bubu_sdk.engram_function import WORKER_VARIABLE
from bubu_sdk.signature import StepFunction


def run(engram: StepFunction) -> NoReturn:
    """Run ``engram`` as this container; exits with the code of its step, or of the worker."""
    if os.environ.get(WORKER_VARIABLE):
        from bubu_sdk.workers import serving  # a Job does not need it

        serving.serve(engram)
    from bubu_sdk import process  # nor does a worker need the other kinds of containers

    process.run(engram)
