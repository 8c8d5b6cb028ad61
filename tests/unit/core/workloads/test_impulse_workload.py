"""Names, labels and mode of a listener."""

from __future__ import annotations

from typing import Any

import pytest

from core.workloads.impulse_workload import (
    ListenerMode,
    chosen_mode,
    instance_label,
    is_suspended,
    workload_labels,
    workload_name,
)
from tests.unit.core.workloads.impulse_samples import LABELS, impulse


@pytest.mark.parametrize(
    ("name", "template", "composed"),
    [
        ("voice-hook", "livekit-webhook", "voice-hook-livekit-webhook-impulse"),
        ("cron", "cron", "cron-impulse"),
        (
            "customer-events-production-listener",
            "github-webhook-impulse-template",
            "customer-events-production-listener-github-webhook-fc877341a11e",
        ),
        ("a", "b.C_d", "a-b-c-d-impulse"),
        ("a", "b-c", "a-b-c-impulse"),
        ("a-b", "c", "a-b-c-impulse"),
    ],
)
def test_a_workload_is_named_after_impulse_and_template(name: str, template: str, composed: str) -> None:
    assert workload_name(name, template) == composed
    assert len(composed) <= 63


def test_the_labels_are_those_of_the_contract_and_valid_for_every_name() -> None:
    assert workload_labels("voice-hook") == LABELS
    long = "a" * 64
    assert instance_label("a" * 63) == "a" * 63
    assert len(instance_label(long)) <= 63
    assert instance_label(long) != instance_label(long + "a")


@pytest.mark.parametrize(
    ("workload", "mode", "unknown"),
    [
        (None, ListenerMode.DEPLOYMENT, ""),
        ({}, ListenerMode.DEPLOYMENT, ""),
        ({"resources": {}}, ListenerMode.DEPLOYMENT, ""),
        ({"mode": "deployment"}, ListenerMode.DEPLOYMENT, ""),
        ({"mode": "deployment", "statefulSet": {"serviceName": "s"}}, ListenerMode.DEPLOYMENT, ""),
        ({"mode": "statefulset"}, ListenerMode.STATEFUL_SET, ""),
        ({"statefulSet": {"serviceName": "s"}}, ListenerMode.STATEFUL_SET, ""),
        ({"mode": "job", "statefulSet": {"serviceName": "s"}}, ListenerMode.DEPLOYMENT, "job"),
    ],
)
def test_without_a_mode_the_settings_of_a_stateful_set_choose_it(
    workload: Any, mode: ListenerMode, unknown: str
) -> None:
    assert chosen_mode(impulse(**({} if workload is None else {"workload": workload}))) == (mode, unknown)


@pytest.mark.parametrize(("value", "suspended"), [("true", True), (" True ", True), ("false", False), ("", False)])
def test_an_annotation_suspends_a_listener(value: str, suspended: bool) -> None:
    annotated = impulse()
    annotated["metadata"]["annotations"] = {"bubustack.io/suspend": value}
    assert is_suspended(annotated) is suspended
    assert not is_suspended(impulse())
