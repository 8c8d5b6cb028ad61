"""What the operator tells a worker about its pool, in environment variables. Source: SDK contract 24.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bubu_contract import durations
from bubu_sdk import contract
from bubu_sdk.engram_function import WORKER_VARIABLE
from bubu_sdk.errors import ContextError

_MAX_CONCURRENCY: Final = 64


class IsolationMode(StrEnum):
    """Where the function of a step runs."""

    PROCESS = "process"
    TASK = "task"


@dataclass(frozen=True)
class WorkerSettings:
    """One worker: its pool, its Pod, and how it runs steps."""

    pool: str
    pod: str
    pod_uid: str
    namespace: str
    concurrency: int
    isolation: IsolationMode
    memory_bytes: int | None
    """What one step may allocate; ``None``: no limit."""
    grace_seconds: float
    """How long steps that are under way may still run after the worker was asked to end."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> WorkerSettings:
        """The settings in ``environ``.

        Raises:
            ContextError: variables are missing or cannot be used; names all of them.
        """
        needed = (WORKER_VARIABLE, "BUBU_POD_NAME", "BUBU_POD_UID", "BUBU_POD_NAMESPACE")
        problems = [f"{name} must be set" for name in needed if not environ.get(name, "").strip()]
        concurrency = _integer(environ, "BUBU_WORKER_CONCURRENCY", 1, _MAX_CONCURRENCY, problems)
        memory = _integer(environ, "BUBU_WORKER_MEMORY_BYTES", 1, None, problems)
        mode = environ.get("BUBU_WORKER_ISOLATION", "").strip() or IsolationMode.PROCESS
        if mode not in tuple(IsolationMode):
            problems.append(f"BUBU_WORKER_ISOLATION is {mode!r}; it must be 'process' or 'task'")
        if problems:
            raise ContextError("this process cannot serve as a warm worker: " + "; ".join(problems))
        return cls(
            pool=environ[WORKER_VARIABLE].strip(),
            pod=environ["BUBU_POD_NAME"].strip(),
            pod_uid=environ["BUBU_POD_UID"].strip(),
            namespace=environ["BUBU_POD_NAMESPACE"].strip(),
            concurrency=concurrency or 1,
            isolation=IsolationMode(mode),
            memory_bytes=memory,
            grace_seconds=seconds_of(environ, "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT", contract.DEFAULT_GRACE_SECONDS),
        )


def seconds_of(environ: Mapping[str, str], name: str, default: float) -> float:
    """A duration in ``environ``; ``default`` if there is none above zero. The step itself warns about a wrong one."""
    try:
        seconds = durations.parse_duration(environ.get(name, "")).total_seconds()
    except ValueError:
        return default
    return seconds if seconds > 0 else default


def _integer(environ: Mapping[str, str], name: str, least: int, most: int | None, problems: list[str]) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number >= least and (most is None or number <= most):
        return number
    allowed = f"from {least} to {most}" if most is not None else f"of at least {least}"
    problems.append(f"{name} is {text!r}; it must be a whole number {allowed}")
    return None
