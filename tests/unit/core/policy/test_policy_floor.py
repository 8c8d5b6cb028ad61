"""Requests of a tenant that are refused: less security than platform and template require, and any taint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.api.objects import Object
from core.policy.layers import ExecutionPolicy, resolve_policy
from core.policy.settings import LoweredBy, OperatorSettings, SecuritySettings
from tests.unit.core.policy.policy_samples import sources

WEAK = {"runAsNonRoot": False, "readOnlyRootFilesystem": False, "allowPrivilegeEscalation": True}
STRICT = (True, True, False)
LAYERS: dict[str, dict[str, Any]] = {
    "Engram overrides": {"engram": {"overrides": {"security": WEAK}}},
    "Story policy": {"story_policy": {"execution": {"security": WEAK}}},
    "Story step": {"step": {"execution": {"security": WEAK}}},
}
DEMANDING = {
    "execution": {
        "security": {"requiresNonRoot": True, "requiresReadOnlyRoot": True, "requiresNoPrivilegeEscalation": True}
    }
}
EASY = {
    "execution": {
        "security": {"requiresNonRoot": False, "requiresReadOnlyRoot": False, "requiresNoPrivilegeEscalation": False}
    }
}


def with_security(**security: Any) -> OperatorSettings:
    return OperatorSettings(security=SecuritySettings(**security))


def security_of(policy: ExecutionPolicy) -> tuple[bool, bool, bool]:
    return policy.run_as_non_root, policy.read_only_root_filesystem, policy.allow_privilege_escalation


@pytest.mark.parametrize("layer", LAYERS)
def test_nobody_lowers_what_the_operator_wants(layer: str) -> None:
    policy = resolve_policy(sources(**LAYERS[layer]))
    assert security_of(policy) == STRICT
    assert [note.partition(" is below")[0] for note in policy.notes] == [
        f"{layer}: security.runAsNonRoot",
        f"{layer}: security.readOnlyRootFilesystem",
        f"{layer}: security.allowPrivilegeEscalation",
    ]
    assert all("security.lowered-by" in note for note in policy.notes)


@pytest.mark.parametrize("layer", LAYERS)
def test_nobody_lowers_what_the_template_requires_where_the_operator_wants_nothing(layer: str) -> None:
    settings = with_security(run_as_non_root=False, read_only_root_filesystem=False, allow_privilege_escalation=True)
    policy = resolve_policy(sources(settings=settings, template=DEMANDING, **LAYERS[layer]))
    assert security_of(policy) == STRICT


@pytest.mark.parametrize("layer", LAYERS)
def test_below_what_nobody_asks_for_there_is_no_floor(layer: str) -> None:
    settings = with_security(run_as_non_root=False, read_only_root_filesystem=False, allow_privilege_escalation=True)
    for template in (None, EASY):
        policy = resolve_policy(sources(settings=settings, template=template, **LAYERS[layer]))
        assert security_of(policy) == (False, False, True)
        assert policy.notes == ()


def test_a_template_may_lower_the_operators_values_unless_the_platform_says_otherwise() -> None:
    assert security_of(resolve_policy(sources(template=EASY))) == (False, False, True)
    strict = resolve_policy(sources(settings=with_security(lowered_by=LoweredBy.NOBODY), template=EASY))
    assert security_of(strict) == STRICT
    assert strict.notes[0].startswith("EngramTemplate: requiresNonRoot is below the minimum")


@pytest.mark.parametrize("layer", LAYERS)
def test_a_platform_may_let_everybody_lower_them(layer: str) -> None:
    settings = with_security(lowered_by=LoweredBy.EVERYBODY)
    policy = resolve_policy(sources(settings=settings, template=DEMANDING, **LAYERS[layer]))
    assert security_of(policy) == (False, False, True)


def test_everybody_may_ask_for_more() -> None:
    settings = with_security(run_as_non_root=False)
    policy = resolve_policy(sources(settings=settings, step={"execution": {"security": {"runAsNonRoot": True}}}))
    assert policy.run_as_non_root is True
    assert policy.notes == ()


EVERYTHING = {"operator": "Exists"}
GPU = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
PLACES: dict[str, Callable[[Object], dict[str, Any]]] = {
    "Engram executionPolicy": lambda placement: {"engram": {"executionPolicy": {"placement": placement}}},
    "Engram overrides": lambda placement: {"engram": {"overrides": {"placement": placement}}},
    "Story policy": lambda placement: {"story_policy": {"execution": {"placement": placement}}},
    "Story step": lambda placement: {"step": {"execution": {"placement": placement}}},
    "StepRun": lambda placement: {"step_run": {"placement": placement}},
}


@pytest.mark.parametrize("layer", PLACES)
def test_a_toleration_of_every_taint_is_left_out_and_others_stay(layer: str) -> None:
    asked = PLACES[layer]({"tolerations": [EVERYTHING, GPU]})
    policy = resolve_policy(sources(**asked))
    assert policy.tolerations == (GPU,)
    [note] = policy.notes
    assert note.startswith(f"{layer}: placement.tolerations[0]: is ignored: it tolerates every taint")


@pytest.mark.parametrize(
    ("allowed", "kept"),
    [(("*",), 2), (("keyed",), 1), (("gpu",), 1), (("other",), 0), ((), 0)],
)
def test_the_platform_says_which_taints_may_be_tolerated(allowed: tuple[str, ...], kept: int) -> None:
    settings = replace(OperatorSettings(), security=SecuritySettings(tolerations=allowed))
    asked = PLACES["Story step"]({"tolerations": [EVERYTHING, GPU]})
    assert len(resolve_policy(sources(settings=settings, **asked)).tolerations) == kept
