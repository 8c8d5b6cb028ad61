"""Workload and Service of a realtime step. (core/workloads/stream_runtime.py)"""

from __future__ import annotations

from typing import Any

import pytest

from core.workloads.stream_runtime import stream_runtime, stream_service
from core.workloads.stream_workload import StreamMode
from tests.unit.core.workloads.stream_samples import stream


@pytest.mark.parametrize(
    ("strategy", "pace"),
    [
        ("blue_green", {"maxSurge": 1, "maxUnavailable": 0}),
        ("rolling", {"maxSurge": 0, "maxUnavailable": 1}),
        ("drain_cutover", {"maxSurge": 0, "maxUnavailable": 1}),
    ],
)
def test_the_strategy_follows_the_lifecycle(strategy: str, pace: dict[str, int]) -> None:
    spec = stream_runtime(stream({"lifecycle": {"strategy": strategy}}))["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": pace}


def test_without_a_lifecycle_kubernetes_decides() -> None:
    assert "strategy" not in stream_runtime(stream())["spec"]


def test_a_stateful_set_has_a_headless_service_and_no_strategy() -> None:
    stateful = stream({"lifecycle": {"strategy": "rolling"}}, mode=StreamMode.STATEFUL_SET)
    made, service = stream_runtime(stateful), stream_service(stateful)
    assert (made["kind"], made["spec"]["serviceName"]) == ("StatefulSet", service["metadata"]["name"])
    assert "strategy" not in made["spec"]
    assert service["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize(
    ("ports", "container", "service"),
    [
        ((), 50051, [{"name": "grpc", "protocol": "TCP", "port": 50051, "targetPort": "grpc"}]),
        (
            ({"name": "web", "port": 8080, "targetPort": 80},),
            8080,
            [{"name": "web", "port": 8080, "targetPort": 80}],
        ),
    ],
)
def test_the_ports_are_those_of_the_template(ports: Any, container: int, service: Any) -> None:
    workload = stream(ports=ports)
    [found] = stream_runtime(workload)["spec"]["template"]["spec"]["containers"]
    assert found["ports"] == [{"name": "grpc", "containerPort": container, "protocol": "TCP"}]
    assert stream_service(workload)["spec"]["ports"] == service


def test_workload_and_service_say_whose_step_they_are() -> None:
    workload = stream()
    marks = {"bubustack.io/story": workload.step.story_name, "bubustack.io/step": workload.step.step_id}
    made, service = stream_runtime(workload), stream_service(workload)
    for each in (made, service, {"metadata": made["spec"]["template"]["metadata"]}, workload.binding):
        assert marks.items() <= each["metadata"]["annotations"].items()


def test_every_label_that_is_selected_is_on_the_pods() -> None:
    made, service = stream_runtime(stream()), stream_service(stream())
    labels = made["spec"]["template"]["metadata"]["labels"].items()
    assert made["spec"]["selector"]["matchLabels"].items() <= labels
    assert service["spec"]["selector"].items() <= labels


def test_the_same_input_gives_the_same_objects() -> None:
    assert stream_runtime(stream()) == stream_runtime(stream())
