"""Names and labels of a realtime step. (core/workloads/stream_workload.py)"""

from __future__ import annotations

import pytest

from core.workloads.stream_workload import (
    StreamMode,
    chosen_mode,
    generation_of,
    service_name,
    stream_labels,
    workload_name,
)
from tests.unit.core.workloads.stream_samples import STEP


@pytest.mark.parametrize(
    ("spec", "mode"),
    [
        ({"mode": "deployment"}, StreamMode.DEPLOYMENT),
        ({"mode": "statefulset"}, StreamMode.STATEFUL_SET),
        ({"mode": "job"}, None),
        ({}, None),
    ],
)
def test_two_modes_serve_streams(spec: dict[str, str], mode: StreamMode | None) -> None:
    assert chosen_mode({"spec": spec}) is mode


def test_the_generation_of_the_first_attempt_is_one() -> None:
    assert generation_of(0) == 1


def test_a_service_has_a_name_that_begins_with_a_letter() -> None:
    assert service_name("run-1-listen") == "run-1-listen"
    assert service_name("1-run-listen") == "step-1-run-listen"
    assert len(service_name("1" * 63)) <= 63


def test_a_stateful_set_has_room_for_the_label_of_its_pods() -> None:
    long = "a" * 40 + "-" + "b" * 22
    assert workload_name("short", StreamMode.STATEFUL_SET) == "short"
    assert workload_name(long, StreamMode.DEPLOYMENT) == long
    cut = workload_name(long, StreamMode.STATEFUL_SET)
    assert len(cut) <= 52
    assert cut != workload_name(long[:-1] + "c", StreamMode.STATEFUL_SET)


def test_the_labels_are_those_of_the_contract() -> None:
    assert stream_labels(STEP) == {
        "app.kubernetes.io/name": "bobrapet-realtime-runtime",
        "app.kubernetes.io/managed-by": "steprun-controller",
        "bubustack.io/steprun": "demo-run-fetch",
        "bubustack.io/storyrun": "demo-run",
        "bubustack.io/story": "report",
    }
