"""Names that are computed from a request, byte for byte as every client computes them."""

from __future__ import annotations

import pytest

from bubu_contract.submission import claim_name, story_run_name, trigger_name
from webhooks.validate import submission

LONG = "a" * 240


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (trigger_name("default", "orders", "customer-42"), "orders-trigger-2939e86abcbefb1a"),
        (trigger_name("default", "orders", "sub-1"), "orders-trigger-bb03907e42b1a894"),
        (trigger_name("default", LONG, "sub-1"), f"{'a' * 228}-trigger-6318e6fd87f85210"),
        (claim_name("default", "run-1-charge", "deliver-webhook"), "run-1-charge-effect-8329de16458124ff"),
        (story_run_name("default", "orders", "Daily Digest"), "orders-daily-digest-8f96562a88b4a343"),
        (story_run_name("default", "orders", "***"), "orders-eb3206207facb29e"),
    ],
)
def test_a_name_is_that_of_the_contract(given: str, expected: str) -> None:
    assert given == expected


def test_a_name_that_is_cut_ends_in_no_dash() -> None:
    assert trigger_name("n", "-" * 300, "x").startswith("s-trigger-")


def test_inputs_that_json_cannot_say_have_no_hash() -> None:
    assert submission.hash_of({"n": float("inf")}) is None
    assert submission.hash_of(None) == submission.hash_of({})
