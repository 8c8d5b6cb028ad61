"""One attempt of a step. Tests change one field at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from core.policy.layers import ExecutionPolicy
from core.policy.settings import EngramSettings
from core.workloads.step_workload import StepWorkload

POLICY = ExecutionPolicy(
    image="registry.example/http:1",
    image_pull_policy="IfNotPresent",
    resources={"cpuRequest": "100m", "cpuLimit": "500m", "memoryRequest": "128Mi", "memoryLimit": "512Mi"},
    run_as_non_root=True,
    read_only_root_filesystem=True,
    allow_privilege_escalation=False,
    run_as_user=1000,
    drop_capabilities=("ALL",),
    backoff_limit=0,
    ttl_seconds_after_finished=3600,
    restart_policy="Never",
    node_selector={},
    tolerations=(),
    affinity=None,
    cache=None,
    max_inline_size_bytes=4096,
    debug=False,
    storage=None,
    probes={},
    secrets={},
    service_account_name="",
    provenance={},
)

WORKLOAD = StepWorkload(
    namespace="team-a",
    step_run_name="demo-run-fetch",
    step_run_uid="11111111-2222-3333-4444-555555555555",
    step_id="fetch",
    story_run_name="demo-run",
    story_name="report",
    story_version=" 1.2.0 ",
    engram_name="fetcher",
    engram_version="0.3.1",
    attempt=0,
    policy=POLICY,
    settings=EngramSettings(),
    timeout=timedelta(minutes=30),
    deadline_at=datetime(2025, 1, 2, 3, 34, 5, 250_000, tzinfo=UTC),
    started_at=datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
    max_recursion_depth=32,
    trigger_data='{"url":"https://example.com"}',
    step_config='{"url":"https://example.com"}',
    template_context='{"inputs":{},"steps":{}}',
    account="demo-run-engram-runner",
    secret_schema={},
)


def workload(*, policy: dict[str, Any] | None = None, **fields: Any) -> StepWorkload:
    return replace(WORKLOAD, policy=replace(POLICY, **(policy or {})), **fields)
