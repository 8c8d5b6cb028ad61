"""What the hub reads of a TransportBinding. (hub/bindings.py)"""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import NamespacedName
from core.api.unreadable import Unreadable, marked
from hub.bindings import read_binding, trimmed
from tests.unit.hub.cluster_samples import transport_binding


def test_a_binding_names_its_step_and_its_run() -> None:
    found = read_binding(transport_binding("ask", uid="u1", generation=3, settings={"env": {"A": "b"}}))
    assert found.name == NamespacedName("team", "run-1-ask-transport")
    assert (found.run, found.run_uid, found.step) == (NamespacedName("team", "run-1"), "run-uid", "ask")
    assert (found.uid, found.generation, found.revision) == ("u1", 3, "story-0")
    assert (found.settings, found.problem) == ({"env": {"A": "b"}}, "")
    assert not found.is_over


def test_the_schemas_of_its_messages_are_read_and_kept() -> None:
    schemas = {"inputSchema": {"required": ["a"]}, "outputSchema": {"required": ["b"]}}
    whole = transport_binding("ask", uid="u1")
    whole["spec"] |= schemas

    found = read_binding(trimmed(whole))

    assert (found.input_schema, found.output_schema) == (schemas["inputSchema"], schemas["outputSchema"])
    assert read_binding(transport_binding("ask")).output_schema is None
    whole["spec"]["outputSchema"] = "odd"
    assert read_binding(whole).output_schema is None


def test_a_step_that_has_finished_or_is_being_deleted_is_over() -> None:
    assert read_binding(transport_binding("ask", finished=True)).is_over
    assert read_binding(transport_binding("ask", deletionTimestamp="2026-01-01T00:00:00Z")).is_over


def test_what_is_kept_means_the_same_and_has_the_status() -> None:
    whole = transport_binding("ask", uid="u1", generation=2, finished=True, managedFields=[{"manager": "x"}])
    whole["status"] = {"endpoint": "a:1"}
    kept = trimmed(whole)
    assert read_binding(kept) == read_binding(whole)
    assert kept["status"] == {"endpoint": "a:1"}
    assert set(kept["metadata"]) == {"name", "namespace", "uid", "resourceVersion", "generation", "annotations"}
    assert "driver" not in kept["spec"]


def with_spec(**fields: Any) -> dict[str, Any]:
    binding = transport_binding("ask")
    return {**binding, "spec": {**binding["spec"], **fields}}


@pytest.mark.parametrize(
    ("binding", "problem"),
    [
        ({**transport_binding("ask"), "spec": None}, "must be set"),
        (with_spec(storyRunRef="run-1"), "must be set"),
        (with_spec(stepName=7), "must be set"),
        (with_spec(storyRunRef={"name": "run-1", "namespace": "other", "uid": "x"}), "must be team"),
        (with_spec(stepName="other"), "must be named run-1-other-transport"),
        (transport_binding("ask", annotations={"bubustack.io/connector-generation": "0"}), "number of 1 or more"),
        (transport_binding("ask", annotations={"bubustack.io/connector-generation": "²"}), "number of 1 or more"),
        (marked(transport_binding("ask"), Unreadable((("spec", "rawSettings"),), "is too large")), "too large"),
    ],
)
def test_a_binding_that_the_operator_did_not_write_serves_nobody(binding: dict[str, Any], problem: str) -> None:
    assert problem in read_binding(binding).problem
