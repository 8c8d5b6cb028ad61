"""Who may name a class, at admission."""

from __future__ import annotations

import pytest

from core.policy.settings import OperatorSettings, SecuritySettings
from webhooks.cluster_view import InMemoryView
from webhooks.validate import pod

BLOCK = {"priorityClassName": "batch-low", "runtimeClassName": "nvidia"}
LISTED = OperatorSettings(security=SecuritySettings(priority_classes=("batch-*",), runtime_classes=("nvidia",)))


def test_a_template_may_name_any_class() -> None:
    assert list(pod.check(BLOCK, "spec.execution", InMemoryView(), is_template=True)) == []


@pytest.mark.parametrize(("settings", "count"), [(LISTED, 0), (OperatorSettings(), 2), (None, 2)])
def test_others_may_name_those_that_the_platform_lists(settings: OperatorSettings | None, count: int) -> None:
    found = list(pod.check(BLOCK, "spec.overrides", InMemoryView(settings=settings)))
    assert [finding.rule.id for finding in found] == ["definition/class"] * count
