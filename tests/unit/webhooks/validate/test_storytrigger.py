"""What no request can say on the wire, and admission refuses all the same."""

from __future__ import annotations

import pytest

from tests.unit.webhooks.validate.rule_table import cases
from webhooks.finding import errors_among
from webhooks.validate import admission


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 10**400])
def test_a_hash_of_inputs_that_have_none_is_refused(number: float) -> None:
    (case,) = [case for case in cases() if case.rule == "trigger/hash"]
    trigger = {**case.accepted, "spec": {**case.accepted["spec"], "inputs": {"x": number}}}

    found = errors_among(admission.validate(trigger, None, case.world))
    assert [finding.rule.id for finding in found] == ["trigger/hash"]
