"""Ten representative Jobs, byte for byte."""

from __future__ import annotations

import pytest

from core.api import manifest
from core.api.objects import Object
from tests.unit.core.workloads.golden_jobs import FOLDER, cases, documents, policy_of, rendered, stored
from webhooks.cluster_view import InMemoryView
from webhooks.finding import errors_among
from webhooks.validate import admission

COUNT = 12


@pytest.mark.parametrize("case", cases())
def test_the_job_is_the_stored_one(case: str) -> None:
    """After a change that is wanted: ``make generate``, and read the difference."""
    assert rendered(case) == stored(case).read_text(encoding="utf-8")


@pytest.mark.parametrize("case", cases())
def test_admission_accepts_its_manifests(case: str) -> None:
    given = documents(case)
    ours = {kind: each for kind, each in given.items() if kind != "ConfigMap"}
    world = InMemoryView(list(ours.values()))
    for each in ours.values():
        assert manifest.errors_of(each) == []
        assert [str(found) for found in errors_among(admission.validate(each, None, world))] == []


def test_there_are_twelve_cases_and_no_job_of_another() -> None:
    assert len(cases()) == COUNT
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(
        name for case in cases() for name in (f"{case}.yaml", f"{case}.job.yaml")
    )


def provenance_of(case: str, *settings: str) -> Object:
    policy = policy_of(case)
    return {setting: policy.provenance[setting] for setting in settings}


def test_each_value_of_layers_in_conflict_has_its_layer() -> None:
    assert provenance_of(
        "layers-in-conflict",
        *("affinity", "tolerations", "node_selector.zone", "node_selector.disk", "node_selector.pool"),
        *("resources.cpuLimit", "resources.memoryLimit", "resources.cpuRequest", "resources.memoryRequest"),
    ) == {
        "affinity": "Story step",
        "tolerations": "Story policy",
        "node_selector.zone": "Story step",
        "node_selector.disk": "Engram overrides",
        "node_selector.pool": "Story policy",
        "resources.cpuLimit": "StepRun",
        "resources.memoryLimit": "Story step",
        "resources.cpuRequest": "operator",
        "resources.memoryRequest": "Engram executionPolicy",
    }
