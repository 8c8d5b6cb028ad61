"""Worked examples of the Trigger contract, 2.2 to 2.7, and the names of stored inputs and labels. (submission.py)"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bubu_sdk import canonical, submission
from core.api import identity
from core.workloads import submission as of_operator

ODD = (
    '{"z":1,"a":{"url":"https://x.test/?a=1&b=<2>","n":1.50,"big":12345678901234567890,"tiny":0.0000001},'
    '"list":[true,null,"\\u2028"],"neg":-0.0}'
)
TOKEN = "9f7746a272894bce74d4e9d46f39c8fed676f42366134dcbf49100e93be1151b"
NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
FEW = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("null", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (" { } ", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        ('{"payload":"ok"}', "ef397221056b60ec7cf2d8ebb3cced1cbf98ed13d6dbd0c334b5bb854b682ed6"),
        (
            '{"event":"pull_request","action":"opened"}',
            "a5820a669c1c8e7559dc555d696b784cfde17dbe049274ee872b1cba1dcaf164",
        ),
        ("{}", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        ('{"b":1,"a":2}', "d3626ac30a87e6f7a6428233b3c68299976865fa5508e4267c5415c76af7a772"),
        ('{"a":1}', "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"),
        ('{"a":1.0}', "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"),
        ('{"a":1e0}', "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"),
        ('{"a":9007199254740993}', "65c07d758377f303542fde97a8fe78f29a66c1e062b8f80fed3106a6d106d88b"),
        ('{"a":100000000000000000000000}', "bc5dfab7b878aa12ddcbe4c60cb271e223f605d4516a263f5b0544d06f3b7e83"),
        ('{"a":0.000001}', "73316665f7916cb06cb29b316b8987b6cc89a7fea4a4fff0ce661eb6ad1eeffb"),
        ('{"a":0.0000001}', "b248271d18d09a840564eafaaeb935f11a4d44d6d90ac5b3baa9714420782816"),
        ('{"k":"\\u00e9\\u2028<"}', "c4cf22803bd5a5949a84ef518a1de53a6c10ddaa931f88a065f34883f81bf32f"),
        (ODD, "75357a99716ac30653efafdb9531e90650615c03d415e520f0809309dc38e204"),
    ],
)
def test_equal_inputs_have_equal_hashes(text: str, digest: str) -> None:
    assert submission.input_hash(json.loads(text)) == digest


@FEW
@given(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=3))
def test_operator_and_sdk_compute_the_same_hash(inputs: dict[str, Any]) -> None:
    reordered = dict(reversed(list(inputs.items())))
    respelled = json.loads(json.dumps(reordered, indent=2))

    assert submission.input_hash(respelled) == of_operator.input_hash(inputs)


def test_a_number_that_no_double_holds_is_refused() -> None:
    with pytest.raises(canonical.NotJsonError, match="too large"):
        submission.input_hash({"a": 10**400})


@pytest.mark.parametrize(
    ("namespace", "story", "text", "short", "run"),
    [
        ("default", "example-story", "sample-submission", "7ae6e94cb44073bc", "example-story-sample-submission-{}"),
        ("default", "test-story", "customer-42", "f8f3cb97448c569e", "test-story-customer-42-{}"),
        (
            "github-pr-review",
            "pr-review-assistant",
            "github:pull_request:37",
            "cee52f255fe4cfb8",
            "pr-review-assistant-github-pull-request-37-{}",
        ),
        ("default", "workflow", "Order 42 / Completed", "8b7e3b6229c3c89c", "workflow-order-42-completed-{}"),
        ("default", "workflow", "Order-42", "9fd513ec871569b1", "workflow-order-42-{}"),
        ("default", "workflow", "order-42", "d9078870548ef60e", "workflow-order-42-{}"),
        ("default", "workflow", "!!!", "3fdc0dce4441555e", "workflow-{}"),
        (
            "default",
            "workflow",
            "6f1c1c1e-8f7a-4b6e-9a51-0d0c6f4c2a11",
            "a6b8eb8bbd94832f",
            "workflow-6f1c1c1e-8f7a-4b6e-9a51-0d0c6f4c2a11-{}",
        ),
        ("default", "workflow", "a" * 256, "5922bd2833ccd0d7", "workflow-{}"),
        ("default", "b" * 250, "token", "de2b498a1a5a5ea1", "b" * 236 + "-{}"),
    ],
)
def test_names_follow_from_story_and_identity(namespace: str, story: str, text: str, short: str, run: str) -> None:
    assert submission.story_run_name(namespace, story, text) == run.format(short)
    assert submission.trigger_name(namespace, story, text) == f"{story[:228]}-trigger-{short}"


@FEW
@given(st.integers(1, 253), st.text(min_size=1, max_size=12), st.integers(1, 20))
def test_operator_and_sdk_agree_on_names(length: int, part: str, times: int) -> None:
    story, text = ("story-" * 50)[: length - 1] + "s", part * times
    assert submission.story_run_name("team", story, text) == of_operator.story_run_name("team", story, text)
    assert submission.trigger_name("team", story, text) == of_operator.trigger_name("team", story, text)
    assert len(submission.trigger_name("team", story, text)) <= 253


@pytest.mark.parametrize("length", [1, 253])
def test_a_key_is_its_own_submission_id(length: int) -> None:
    assert submission.submission_id("k" * length) == "k" * length


@pytest.mark.parametrize("length", [254, 256])
def test_a_key_longer_than_a_submission_id_is_hashed(length: int) -> None:
    hashed = submission.submission_id("k" * length)

    assert len(hashed) == 64
    assert hashed == submission.submission_id("k" * length)


def test_stored_inputs_lie_in_a_folder_of_their_request_and_content() -> None:
    folder = submission.storage_id("team-a", "team-a", "workflow", "token-123", {"key": "value"})

    assert folder == "team-a/workflow-token-123-3861ebedfa64e10a-e43abcf33752"
    assert submission.storage_id("a", "a", "w", "t", {}) == "a/" + submission.story_run_name("a", "w", "t")
    assert len(submission.storage_id("a", "a", "w" * 240, "t", {"k": 1})) <= 253 + len("a/")


def test_labels_are_those_of_the_contract_and_of_the_operator() -> None:
    long = f"policy-story-{TOKEN}-2510faebd48ed604"

    assert submission.label_value(long) == "policy-story-9f7746a272894bce74d4e9d46f39c8fed676f42-fd5429b58c"
    assert submission.label_value("  !!! ") == "resource"
    for text in (long, "Order 42 / Completed", "a" * 63, "a" * 64, "x-" * 40):
        assert submission.label_value(text) == identity.label_value(text)
