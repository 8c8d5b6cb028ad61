"""Why steps that ask for warm workers run as Jobs: each obstacle is named with its remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.api.objects import Object
from core.policy.warm import WarmPolicy
from core.workloads.warm_steps import why_not_warm
from tests.unit.core.workloads.workload_samples import POLICY

ENGRAM: Object = {"metadata": {"namespace": "team", "name": "e"}, "spec": {}}
ASKED = replace(POLICY, warm=WarmPolicy())


def template(**spec: Any) -> Object:
    return {"metadata": {"name": "t"}, "spec": {"supportedModes": ["job", "worker"], **spec}}


def test_a_template_that_can_serve_is_warm() -> None:
    assert why_not_warm(ASKED, ENGRAM, template(), "team") == ""


def test_nobody_who_does_not_ask_is_told_anything() -> None:
    assert why_not_warm(POLICY, ENGRAM, template(supportedModes=["job"]), "team") == ""


@pytest.mark.parametrize(
    ("changes", "spec", "text"),
    [
        ({}, {"supportedModes": ["job"]}, "does not have worker in spec.supportedModes"),
        ({}, {"container": {}, "supportedModes": ["job"]}, "has no SDK"),
        (
            {},
            {
                "execution": {
                    "rbac": {"rules": [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]}
                }
            },
            "rbac.rules",
        ),
        ({"restart_policy": "OnFailure"}, {}, "restartPolicy"),
        ({"backoff_limit": 1}, {}, "backoffLimit"),
        ({"service_account_name": "fixed"}, {}, "security.service-account-name"),
        (
            {
                "extended_resources": {"nvidia.com/gpu": "1"},
                "provenance": {"extended_resources.nvidia.com/gpu": "Story step"},
            },
            {},
            "nvidia.com/gpu",
        ),
    ],
)
def test_each_obstacle_is_named(changes: dict[str, Any], spec: dict[str, Any], text: str) -> None:
    found = why_not_warm(replace(ASKED, **changes), ENGRAM, template(**spec), "team")
    assert text in found
    assert ";" not in found.replace("; add it", "").replace("; use retry", "")


def test_the_devices_of_the_engram_itself_are_no_obstacle() -> None:
    for layer in ("EngramTemplate", "Engram overrides", "Engram executionPolicy"):
        asked = replace(ASKED, extended_resources={"g/p": "1"}, provenance={"extended_resources.g/p": layer})
        assert why_not_warm(asked, ENGRAM, template(), "team") == ""


def test_all_obstacles_are_told_at_once() -> None:
    found = why_not_warm(replace(ASKED, backoff_limit=2), ENGRAM, template(supportedModes=["job"]), "team")
    assert "supportedModes" in found
    assert "backoffLimit" in found
