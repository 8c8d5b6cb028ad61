"""Workers that are kept ready for the steps of an Engram: the field ``warm`` of execution policies.

An addition to the contract. ``core.policy.warm`` gives the values their defaults and checks them.
"""

from __future__ import annotations

from pydantic import Field

from core.api.schema import Int32, WireModel
from core.api.warm_bounds import MAX_STEPS_OF_A_WORKER, MAX_WORKERS, WorkerIsolation


class WarmWorkers(WireModel):
    """A pool of Pods that execute one step after the other, instead of a Job for each attempt.

    Merged field by field with inherited values. The template must have `worker` in `supportedModes`.
    """

    concurrency_per_worker: Int32 | None = Field(
        None,
        ge=1,
        le=MAX_STEPS_OF_A_WORKER,
        description=f"Steps that one worker executes at a time, 1 to {MAX_STEPS_OF_A_WORKER}; default 1.",
    )
    enabled: bool | None = Field(None, description="`false` runs the steps as Jobs; default true.")
    idle_timeout: str | None = Field(
        None,
        description="After this time without a step, the pool has no worker, as a Go duration; default 10m. Workers "
        "that were not needed for so long go before.",
    )
    isolation: WorkerIsolation | None = Field(
        None,
        description="`process` (default) forks a process for each step; `task` runs steps in the worker itself, for "
        "models that take long to load.",
    )
    max_replicas: Int32 | None = Field(
        None,
        ge=0,
        le=MAX_WORKERS,
        description=f"Most workers, up to {MAX_WORKERS}; default: `replicas`. 0 runs the steps as Jobs.",
    )
    replicas: Int32 | None = Field(
        None,
        ge=1,
        le=MAX_WORKERS,
        description=f"Workers as long as there is work, 1 to {MAX_WORKERS}; default 1.",
    )
