"""The input of the builders: one attempt of an engram step, as one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from core.policy.layers import ExecutionPolicy
from core.policy.settings import EngramSettings
from core.workloads.plain_container import ContainerCall

ENGRAM_CONTAINER: Final = "engram"


@dataclass(frozen=True, slots=True)
class StepWorkload:
    """One attempt; JSON payloads are already encoded."""

    namespace: str
    step_run_name: str
    step_run_uid: str
    step_id: str
    story_run_name: str
    story_name: str
    story_version: str
    engram_name: str
    engram_version: str
    attempt: int
    policy: ExecutionPolicy
    settings: EngramSettings
    timeout: timedelta | None
    """None: the attempt of a realtime step may take as long as it likes."""
    deadline_at: datetime | None
    started_at: datetime
    """First start of the StepRun; retries do not change it."""
    max_recursion_depth: int
    trigger_data: str
    step_config: str
    template_context: str | None
    account: str
    """The ServiceAccount, unless the policy names another one."""
    secret_schema: Mapping[str, Mapping[str, Any]]
    """EngramTemplate ``spec.secretSchema``: logical name → definition."""
    tls_secret: str = ""
    skip_input_templating: bool = False
    correlation_id: str = ""
    execution_key: str = ""
    """What equal executions have in common; empty: it has no equal."""
    propagates_trace: bool = False
    trace_context: Mapping[str, str] = field(default_factory=dict)
    """``traceparent``, ``tracestate``, ``baggage`` of the attempt; empty: the container gets none."""
    step_trace_parent: str = ""
    """``traceparent`` of the step, for the hub; empty: the run is not traced."""
    drain: timedelta | None = None
    """How long a canceled function has to end, if the Story says so; None: as the operator's settings say."""
    call: ContainerCall | None = None
    """Set for a container without an SDK, which gets this instead of the payloads above."""
