"""How the engine's order becomes the input of the Job builder."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bubu_contract.canonical import NotJsonError
from core.api.objects import Object
from core.engine.errors import RejectedError
from core.engine.ports import AttemptOrder
from core.policy.layers import resolve_policy
from core.policy.retry import RetryPolicy
from core.policy.settings import OperatorSettings
from core.policy.sources import Sources
from reconcilers.adapters.binding import ResolvedBinding
from reconcilers.adapters.ordered_workload import ordered_workload
from tests.unit.reconcilers.reconciler_samples import run, step_run, stored, story

DEADLINE = datetime(2025, 1, 2, 4, 0, 0, tzinfo=UTC)


def order(
    *, inputs: Object | None = None, step_spec: Object | None = None, status: Object | None = None, **spec: Any
) -> AttemptOrder:
    """An order; ``spec`` belongs to the Story."""
    owner = run(meta={"annotations": {"bubustack.io/correlation-id": " Order 42 "}})
    child = step_run(owner, status=status or {})
    child["spec"] |= step_spec or {}
    told, step = story("report", **spec), {"name": "fetch", "ref": {"name": "http"}}
    template = stored("EngramTemplate", "http", spec={"image": "x", "secretSchema": {"api": {}}})
    annotations = {"bubustack.io/tls-secret": "tls"}
    engram = stored("Engram", "http", spec={"version": " 2.0 "}, meta={"annotations": annotations})
    settings = OperatorSettings()
    sources = Sources(settings, template, engram, told, step)
    binding = ResolvedBinding(
        engram_namespace="team",
        engram_name="http",
        engram_version="9.9",
        template_name="http",
        template_generation=1,
        default_with=None,
        retry_spec=None,
        retry=RetryPolicy(),
        timeout=timedelta(minutes=5),
        max_inline_size_bytes=4096,
        input_schema=None,
        output_schema=None,
        declared_output_keys=None,
        engram=engram,
        template=template,
        settings=settings,
        policy=resolve_policy(sources),
        sources=sources,
        executor="job",
    )
    return AttemptOrder(owner, told, step, child, binding, 2, inputs or {}, {"inputs": {}, "steps": {}}, DEADLINE)


def test_everything_the_builder_needs_is_told() -> None:
    workload = ordered_workload(order(inputs={"b": 1.0, "a": "<"}, version="1.2"), "an-account")
    assert (workload.namespace, workload.step_run_name, workload.step_id) == ("team", "one-fetch", "fetch")
    assert (workload.story_run_name, workload.story_name, workload.story_version) == ("one", "report", "1.2")
    assert (workload.engram_name, workload.engram_version) == ("http", "2.0")
    assert (workload.attempt, workload.timeout, workload.deadline_at) == (2, timedelta(minutes=5), DEADLINE)
    assert workload.trigger_data == workload.step_config == '{"a":"\\u003c","b":1}'
    assert workload.template_context == '{"inputs":{},"steps":{}}'
    assert (workload.tls_secret, workload.secret_schema, workload.correlation_id) == ("tls", {"api": {}}, "Order 42")


def test_the_key_of_the_execution_is_handed_on() -> None:
    assert ordered_workload(replace(order(), execution_key="0123"), "an-account").execution_key == "0123"


def test_resolved_inputs_are_not_evaluated_again() -> None:
    """SDKs obey that for the inputs, but always evaluate the config."""
    data = {"text": "Hello {{name}}"}
    resolved = ordered_workload(order(inputs=data), "an-account")
    left = ordered_workload(replace(order(inputs=data), is_resolved=False), "an-account")

    assert (resolved.skip_input_templating, left.skip_input_templating) == (True, False)
    assert resolved.trigger_data == left.trigger_data == left.step_config == '{"text":"Hello {{name}}"}'
    assert resolved.step_config == r'{"text":"Hello {{ \"{{\" }}name}}"}'


@pytest.mark.parametrize(
    ("status", "started"),
    [
        ({"startedAt": "2025-01-02T03:01:00Z"}, datetime(2025, 1, 2, 3, 1, tzinfo=UTC)),
        ({}, datetime(2025, 1, 2, 3, 0, tzinfo=UTC)),
        ({"startedAt": "damaged"}, datetime(2025, 1, 2, 3, 0, tzinfo=UTC)),
    ],
)
def test_the_first_start_is_that_of_the_step_run(status: Object, started: datetime) -> None:
    assert ordered_workload(order(status=status), "an-account").started_at == started


@pytest.mark.parametrize(("policy", "depth"), [({}, 32), ({"execution": {"maxRecursionDepth": 3}}, 3)])
def test_the_storys_recursion_depth_beats_the_operators(policy: Object, depth: int) -> None:
    assert ordered_workload(order(policy=policy), "an-account").max_recursion_depth == depth


@pytest.mark.parametrize(("policy", "seconds"), [({}, None), ({"timeouts": {"gracefulShutdownTimeout": "3s"}}, 3)])
def test_the_story_says_how_long_a_canceled_function_has_to_end(policy: Object, seconds: int | None) -> None:
    drain = ordered_workload(order(policy=policy), "an-account").drain
    assert drain == (timedelta(seconds=seconds) if seconds else None)


def test_overrides_of_the_step_run_itself_are_the_last_word() -> None:
    overrides = {"cpuLimit": "2", "debug": True}
    policy = ordered_workload(order(step_spec={"executionOverrides": overrides}), "an-account").policy
    assert (policy.resources["cpuLimit"], policy.debug) == ("2", True)
    assert policy.provenance["resources.cpuLimit"] == "StepRun"


def test_invalid_overrides_are_refused() -> None:
    with pytest.raises(RejectedError, match=r"^StepRun one-fetch: StepRun: resources\.cpuLimit: 'lots' is not"):
        ordered_workload(order(step_spec={"executionOverrides": {"cpuLimit": "lots"}}), "an-account")


def test_inputs_without_a_json_form_are_refused() -> None:
    with pytest.raises(NotJsonError):
        ordered_workload(order(inputs={"x": math.nan}), "an-account")


def test_a_skipped_correlation_id_is_empty() -> None:
    plain = order()
    plain = replace(plain, run=run())
    assert ordered_workload(plain, "an-account").correlation_id == ""
