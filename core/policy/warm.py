"""Warm workers, as the layers of an execution policy ask for them: defaults, bounds, and what is off. Pure.

An addition to the contract; docs/warm-workers.md describes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, get_args

from bubu_contract.durations import parse_duration
from core.api.duration_field import duration_problem
from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.api.warm_bounds import MAX_STEPS_OF_A_WORKER, MAX_WORKERS, WorkerIsolation

ISOLATIONS: Final[tuple[str, ...]] = get_args(WorkerIsolation)
LEAST_IDLE_TIMEOUT: Final = timedelta(seconds=1)
_DEFAULT_IDLE_TIMEOUT: Final = timedelta(minutes=10)
_RANGES: Final = {
    "replicas": (1, MAX_WORKERS),
    "maxReplicas": (0, MAX_WORKERS),
    "concurrencyPerWorker": (1, MAX_STEPS_OF_A_WORKER),
}


@dataclass(frozen=True, slots=True)
class WarmPolicy:
    """The workers of one pool."""

    replicas: int = 1
    """Workers while there is work."""
    max_replicas: int = 1
    """Most workers; at least ``replicas``."""
    concurrency: int = 1
    """Steps that one worker executes at a time."""
    isolation: str = "process"
    """One of ``ISOLATIONS``."""
    idle_timeout: timedelta = _DEFAULT_IDLE_TIMEOUT
    """After this time without a step, the pool has no worker."""

    def replicas_for(self, steps: int) -> int:
        """The workers that so many unfinished steps need; at least one step."""
        needed = -(-steps // self.concurrency)
        return min(max(needed, self.replicas), self.max_replicas)


def warm_policy(merged: Mapping[str, Any] | None) -> WarmPolicy | None:
    """The policy of merged and valid layers; None: no layer asks for workers, or a layer turns them off."""
    if merged is None or merged.get("enabled") is False or merged.get("maxReplicas") == 0:
        return None
    most = merged.get("maxReplicas")
    replicas = merged.get("replicas") or 1
    timeout = str(merged.get("idleTimeout") or "").strip()
    return WarmPolicy(
        replicas=replicas if most is None else min(replicas, most),
        max_replicas=replicas if most is None else most,
        concurrency=merged.get("concurrencyPerWorker") or 1,
        isolation=merged.get("isolation") or "process",
        idle_timeout=parse_duration(timeout) if timeout else _DEFAULT_IDLE_TIMEOUT,
    )


def warm_problems(block: object, path: str) -> Iterator[FieldError]:
    """What is wrong with the block ``warm`` of one layer."""
    if not isinstance(block, Mapping):
        yield FieldError(path, "must be an object", "write for example warm: {replicas: 2}")
        return
    fields: ReadOnlyObject = block
    for key, (least, most) in _RANGES.items():
        value = fields.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
            yield FieldError(f"{path}.{key}", f"must be a whole number from {least} to {most}", "use another number")
    if not isinstance(fields.get("enabled", True), bool | None):
        yield FieldError(f"{path}.enabled", "must be true or false", "remove the quotes")
    if fields.get("isolation") not in (None, *ISOLATIONS):
        yield FieldError(f"{path}.isolation", f"must be {' or '.join(ISOLATIONS)}", "use one of these words")
    if problem := duration_problem(fields, "idleTimeout", path, least=LEAST_IDLE_TIMEOUT):
        yield problem
    if not _is_in_order(fields):
        text = f"is less than replicas, {fields['replicas']}"
        yield FieldError(f"{path}.maxReplicas", text, "raise it, or lower replicas; 0 runs the steps as Jobs")


def _is_in_order(fields: ReadOnlyObject) -> bool:
    least, most = fields.get("replicas"), fields.get("maxReplicas")
    return not isinstance(least, int) or not isinstance(most, int) or most == 0 or least <= most
