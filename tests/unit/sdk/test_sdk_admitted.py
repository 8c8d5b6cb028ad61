"""What the SDK submits is what admission and the definition of StoryTriggers accept. (storytrigger.py)"""

from __future__ import annotations

import copy
from typing import Any

import jsonschema_rs
import pytest

from bubu_sdk import ImpulseContext
from bubu_sdk.testing import ImpulseEnvironment
from core.api.crd import custom_resource_definition
from core.api.storytrigger import STORY_TRIGGER_KIND
from webhooks.cluster_view import InMemoryView
from webhooks.validate import storytrigger

STORY = {"apiVersion": "bubustack.io/v1alpha1", "kind": "Story", "spec": {"version": "v3", "steps": []}}
CALLS: list[dict[str, Any]] = [
    {},
    {"inputs": {"n": 1, "text": "é <&> \u2028", "big": 10**20, "tiny": 1e-7}},
    {"submission_id": "s" * 300},
    {"key": "customer-42"},
    {"key": "Order 42 / Completed", "inputs": {"n": 9007199254740993}},
    {"key": "k" * 256},
    {"key": "k", "version": "v3"},
    {"key": "k", "inputs": {"body": "x" * 5000}},
]


def submitted(**call: Any) -> dict[str, Any]:
    environment = ImpulseEnvironment(story="orders")
    environment.operator.holds = True

    def main(ctx: ImpulseContext) -> None:
        ctx.accept(**call)

    assert environment.run(main).exit_code == 0
    (trigger,) = environment.triggers
    return copy.deepcopy(trigger)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: ",".join(call) or "nothing")
def test_a_submission_is_admitted(call: dict[str, Any]) -> None:
    trigger = submitted(**call)
    world = InMemoryView([{**STORY, "metadata": {"name": "orders", "namespace": "default"}}])
    schema = custom_resource_definition(STORY_TRIGGER_KIND)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    assert [str(finding) for finding in storytrigger.validate(trigger, None, world)] == []
    assert [str(error) for error in jsonschema_rs.Draft7Validator(schema).iter_errors(trigger)] == []
