"""What an order of a realtime step says about its binding and container. (reconcilers/adapters/ordered_stream.py)"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.api.objects import Object
from core.workloads.stream_binding import gives_with
from core.workloads.stream_environment import stream_environment
from reconcilers.adapters.binding import ResolvedBinding
from reconcilers.adapters.ordered_stream import ordered_binding, ordered_stream, ordered_stream_step
from tests.unit.core.workloads.golden_jobs import account_of
from tests.unit.core.workloads.golden_streams import ACCESS, order


@pytest.mark.parametrize(
    ("fields", "needs", "has_schema", "has_with"),
    [
        ({"with": {"depth": 2}}, ("listen",), True, True),
        ({"with": {"depth": 2}}, (), False, False),
        ({"with": {}}, ("listen",), False, False),
        ({"with": {"depth": 2}, "runtime": {"depth": 3}}, ("listen",), True, False),
        ({}, ("listen",), False, False),
    ],
)
def test_with_comes_with_packets_if_there_are_packets_and_no_runtime(
    fields: dict[str, Any], needs: tuple[str, ...], has_schema: bool, has_with: bool
) -> None:
    given, access = order("stateful-retry"), ACCESS["stateful-retry"]
    step = {name: value for name, value in given.step.items() if name != "runtime"} | fields
    asked = replace(given, step=step, packet_needs=needs)
    workload_step = ordered_stream_step(asked, account_of(asked))

    binding = ordered_binding(asked, workload_step, access)
    assert gives_with(binding) == has_with
    assert ("inputSchema" in binding["spec"]) == has_schema
    binding["metadata"]["uid"] = "99999999-2222-3333-4444-555555555555"
    names = {each["name"] for each in stream_environment(ordered_stream(asked, workload_step, binding, access))}
    assert ("BUBU_WITH_IN_PACKETS" in names) == has_with


SCHEMA: Object = {"type": "object", "required": ["url", "n"], "properties": {"url": {"type": "string"}, "deep": {}}}


@pytest.mark.parametrize(
    ("schema", "given", "found"),
    [
        (SCHEMA, None, SCHEMA),
        (SCHEMA, {"region": "eu"}, SCHEMA),
        (SCHEMA, {"url": "{{ inputs.base }}"}, {**SCHEMA, "required": ["n"]}),
        (
            {**SCHEMA, "properties": {"n": {"required": ["a"]}}},
            {"n": {"a": 1}},
            {**SCHEMA, "required": ["url"], "properties": {"n": {}}},
        ),
        ({**SCHEMA, "anyOf": [{"required": ["x"]}]}, {"x": 1}, None),
        (None, {"x": 1}, None),
    ],
)
def test_the_binding_of_jobs_has_the_schema_as_far_as_packets_must_keep_to_it(
    schema: Object | None, given: Object | None, found: Object | None
) -> None:
    """What the ``with`` of the Engram adds, the hub does not know."""
    asked = order("stateful-retry")
    bound = ResolvedBinding.of(asked)
    assert bound.stream is not None
    template = {**bound.template, "spec": {**bound.template["spec"], "inputSchema": schema}}
    jobs = replace(bound, template=template, stream=replace(bound.stream, mode=None), default_with=given)
    asked = replace(asked, binding=jobs)

    binding = ordered_binding(asked, ordered_stream_step(asked, account_of(asked)), ACCESS["stateful-retry"])

    assert binding["metadata"]["annotations"]["transport.bubustack.io/jobs"] == "true"
    assert binding["spec"].get("inputSchema") == found
