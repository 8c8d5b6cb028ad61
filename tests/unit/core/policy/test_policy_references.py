"""Cross-namespace references."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.policy.references import ForeignReference, why_denied
from core.policy.settings import CrossNamespacePolicy as Policy

ACROSS = ForeignReference("bubustack.io", "Story", "team-a", "bubustack.io", "Engram", "team-b", "http")
FROM = {"group": "bubustack.io", "kind": "Story", "namespace": "team-a"}
TO = {"group": "bubustack.io", "kind": "Engram"}


def grant(from_: list[dict[str, str]], to: list[dict[str, str]]) -> dict[str, Any]:
    return {"spec": {"from": from_, "to": to}}


@pytest.mark.parametrize("policy", list(Policy))
@pytest.mark.parametrize(
    "reference",
    [
        pytest.param(replace(ACROSS, to_namespace="team-a"), id="same-namespace"),
        pytest.param(replace(ACROSS, to_namespace=""), id="no-target-namespace"),
        pytest.param(replace(ACROSS, from_namespace=""), id="no-source-namespace"),
    ],
)
def test_references_within_a_namespace_are_always_allowed(policy: Policy, reference: ForeignReference) -> None:
    assert why_denied(reference, policy) is None


def test_deny_refuses_whatever_is_granted() -> None:
    denied = why_denied(ACROSS, Policy.DENY, [grant([FROM], [TO])])
    assert denied == (
        "Story in namespace team-a may not refer to Engram team-b/http: references.cross-namespace-policy is deny"
    )


def test_allow_needs_no_grant() -> None:
    assert why_denied(ACROSS, Policy.ALLOW) is None


@pytest.mark.parametrize(
    ("grants", "allowed"),
    [
        pytest.param([], False, id="none"),
        pytest.param([grant([FROM], [TO])], True, id="every-name"),
        pytest.param([grant([FROM], [{**TO, "name": ""}])], True, id="empty-name"),
        pytest.param([grant([FROM], [{**TO, "name": "http"}])], True, id="this-name"),
        pytest.param([grant([FROM], [{**TO, "name": "other"}])], False, id="another-name"),
        pytest.param([grant([{**FROM, "namespace": "team-c"}], [TO])], False, id="another-namespace"),
        pytest.param([grant([{**FROM, "kind": "Impulse"}], [TO])], False, id="another-kind"),
        pytest.param([grant([{**FROM, "kind": "story"}], [TO])], False, id="case-counts"),
        pytest.param([grant([{**FROM, "group": " bubustack.io "}], [TO])], True, id="blanks-do-not-count"),
        pytest.param([grant([FROM], [{**TO, "group": "runs.bubustack.io"}])], False, id="another-group"),
        pytest.param([grant([], [TO])], False, id="from-nobody"),
        pytest.param([grant([FROM], [])], False, id="to-nothing"),
        pytest.param(
            [grant([{**FROM, "namespace": "x"}, FROM], [{**TO, "name": "y"}, TO])], True, id="any-from-with-any-to"
        ),
        pytest.param(
            [grant([FROM], [{**TO, "name": "y"}]), grant([{**FROM, "kind": "Impulse"}], [TO])],
            False,
            id="two-halves-of-different-grants",
        ),
        pytest.param([{"spec": None}, {}], False, id="empty-grants"),
    ],
)
def test_grants_open_exactly_what_they_name(grants: list[dict[str, Any]], allowed: bool) -> None:
    assert (why_denied(ACROSS, Policy.GRANT, grants) is None) is allowed


def test_refusal_names_the_missing_grant() -> None:
    assert why_denied(ACROSS, Policy.GRANT) == (
        "no ReferenceGrant in namespace team-b allows bubustack.io/Story from namespace team-a "
        "to refer to Engram team-b/http"
    )
