"""Worked examples of the Trigger contract, 2.2 and 2.7."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bubu_contract.canonical import NotJsonError
from bubu_contract.submission import claim_name, input_hash, storage_id, story_run_name, submission_id, trigger_name

ODD = (
    '{"z":1,"a":{"url":"https://x.test/?a=1&b=<2>","n":1.50,"big":12345678901234567890,"tiny":0.0000001},'
    '"list":[true,null,"\\u2028"],"neg":-0}'
)


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("null", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (" { } ", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        ("{}", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (
            '{"event":"pull_request","action":"opened"}',
            "a5820a669c1c8e7559dc555d696b784cfde17dbe049274ee872b1cba1dcaf164",
        ),
        ('{"a":1e0}', "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"),
        ('{"payload":"ok"}', "ef397221056b60ec7cf2d8ebb3cced1cbf98ed13d6dbd0c334b5bb854b682ed6"),
        ('{"b":1,"a":2}', "d3626ac30a87e6f7a6428233b3c68299976865fa5508e4267c5415c76af7a772"),
        ('{"a":1.0}', "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"),
        ('{"a":1}', "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"),
        ('{"a":9007199254740993}', "65c07d758377f303542fde97a8fe78f29a66c1e062b8f80fed3106a6d106d88b"),
        ('{"a":100000000000000000000000}', "bc5dfab7b878aa12ddcbe4c60cb271e223f605d4516a263f5b0544d06f3b7e83"),
        ('{"a":0.000001}', "73316665f7916cb06cb29b316b8987b6cc89a7fea4a4fff0ce661eb6ad1eeffb"),
        ('{"a":0.0000001}', "b248271d18d09a840564eafaaeb935f11a4d44d6d90ac5b3baa9714420782816"),
        ('{"k":"\\u00e9\\u2028<"}', "c4cf22803bd5a5949a84ef518a1de53a6c10ddaa931f88a065f34883f81bf32f"),
        (ODD, "75357a99716ac30653efafdb9531e90650615c03d415e520f0809309dc38e204"),
    ],
)
def test_equal_inputs_have_equal_hashes(text: str, digest: str) -> None:
    assert input_hash(json.loads(text, parse_int=float)) == digest  # only so does -0 keep its sign
    if "-0" not in text:
        assert input_hash(json.loads(text)) == digest


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def respelt(value: Any, draw: Callable[[Any], Any]) -> str:
    """The JSON of a value, with other spaces, another order of keys and other spellings of numbers."""
    space = draw(st.sampled_from(["", " ", "\n\t"]))
    match value:
        case bool() | None | str():
            return json.dumps(value, ensure_ascii=draw(st.booleans()))
        case int():
            return str(draw(st.sampled_from([str(value), f"{value}.0", f"{value}e0", f"{value}0E-1"])))
        case float():
            return str(draw(st.sampled_from([repr(value), f"{value:.17e}"])))
        case list():
            return f"[{space}{f'{space},'.join(respelt(item, draw) for item in value)}{space}]"
    pairs = [
        f"{json.dumps(key)}{space}:{space}{respelt(value[key], draw)}" for key in draw(st.permutations(list(value)))
    ]
    return f"{{{space}{f'{space},'.join(pairs)}{space}}}"


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=4), _VALUES, max_size=5), st.data())
def test_the_hash_does_not_depend_on_the_spelling(inputs: dict[str, Any], data: st.DataObject) -> None:
    assert input_hash(json.loads(respelt(inputs, data.draw))) == input_hash(inputs)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3), st.data())
def test_other_inputs_have_another_hash(inputs: dict[str, Any], data: st.DataObject) -> None:
    other = data.draw(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3))
    assert (input_hash(inputs) == input_hash(other)) is (inputs == other)


def test_half_a_letter_is_hashed_as_the_letter_that_stands_for_it() -> None:
    assert input_hash({"a": "\ud800"}) == input_hash({"a": "\ufffd"})


@pytest.mark.parametrize("value", [1e999, float("nan"), 10**400])
def test_a_number_that_no_double_holds_has_no_hash(value: float) -> None:
    with pytest.raises(NotJsonError):
        input_hash({"a": value})


@pytest.mark.parametrize(
    ("namespace", "story", "identity", "name"),
    [
        ("default", "example-story", "sample-submission", "example-story-sample-submission-7ae6e94cb44073bc"),
        ("default", "test-story", "customer-42", "test-story-customer-42-f8f3cb97448c569e"),
        (
            "github-pr-review",
            "pr-review-assistant",
            "github:pull_request:37",
            "pr-review-assistant-github-pull-request-37-cee52f255fe4cfb8",
        ),
        ("default", "workflow", "Order 42 / Completed", "workflow-order-42-completed-8b7e3b6229c3c89c"),
        ("default", "workflow", "Order-42", "workflow-order-42-9fd513ec871569b1"),
        ("default", "workflow", "order-42", "workflow-order-42-d9078870548ef60e"),
        ("default", "workflow", "!!!", "workflow-3fdc0dce4441555e"),
        (
            "default",
            "workflow",
            "6f1c1c1e-8f7a-4b6e-9a51-0d0c6f4c2a11",
            "workflow-6f1c1c1e-8f7a-4b6e-9a51-0d0c6f4c2a11-a6b8eb8bbd94832f",
        ),
        ("default", "workflow", "a" * 256, "workflow-5922bd2833ccd0d7"),
        ("default", "b" * 250, "token", f"{'b' * 236}-de2b498a1a5a5ea1"),
        ("", "story", "plain", "story-plain"),
    ],
)
def test_a_key_names_its_run(namespace: str, story: str, identity: str, name: str) -> None:
    assert story_run_name(namespace, story, identity) == name


@pytest.mark.parametrize(
    ("namespace", "story", "identity", "name"),
    [
        ("default", "example-story", "sample-submission", "example-story-trigger-7ae6e94cb44073bc"),
        ("default", "test-story", "customer-42", "test-story-trigger-f8f3cb97448c569e"),
        (
            "github-pr-review",
            "pr-review-assistant",
            "github:pull_request:37",
            "pr-review-assistant-trigger-cee52f255fe4cfb8",
        ),
        ("default", "workflow", "Order 42 / Completed", "workflow-trigger-8b7e3b6229c3c89c"),
        ("default", "workflow", "Order-42", "workflow-trigger-9fd513ec871569b1"),
        ("default", "workflow", "order-42", "workflow-trigger-d9078870548ef60e"),
        ("default", "workflow", "!!!", "workflow-trigger-3fdc0dce4441555e"),
        ("default", "workflow", "6f1c1c1e-8f7a-4b6e-9a51-0d0c6f4c2a11", "workflow-trigger-a6b8eb8bbd94832f"),
        ("default", "workflow", "a" * 256, "workflow-trigger-5922bd2833ccd0d7"),
        ("default", "b" * 250, "token", f"{'b' * 228}-trigger-de2b498a1a5a5ea1"),
        ("default", "orders", "customer-42", "orders-trigger-2939e86abcbefb1a"),
    ],
)
def test_an_identity_names_its_trigger(namespace: str, story: str, identity: str, name: str) -> None:
    assert trigger_name(namespace, story, identity) == name
    assert len(name) <= 253


@pytest.mark.parametrize(
    ("namespace", "step_run", "key", "name"),
    [
        ("default", "example-step", "deliver-webhook", "example-step-effect-f593b593cad9418d"),
        (
            "github-pr-review",
            "pr-review-assistant-abc123-review-code",
            "github.review.comment",
            "pr-review-assistant-abc123-review-code-effect-fa6f0d543c0d0583",
        ),
        ("ns-a", "run1-step-notify", "provider.call", "run1-step-notify-effect-3cba18bf9177d558"),
        ("default", "s" * 250, "k", f"{'s' * 229}-effect-1fad3d218bdb2ef3"),
    ],
)
def test_an_effect_names_its_claim(namespace: str, step_run: str, key: str, name: str) -> None:
    assert claim_name(namespace, step_run, key) == name


@pytest.mark.parametrize("length", [1, 253])
def test_a_key_is_its_own_submission_id(length: int) -> None:
    assert submission_id("k" * length) == "k" * length


@pytest.mark.parametrize("length", [254, 256])
def test_a_key_longer_than_a_submission_id_is_hashed(length: int) -> None:
    hashed = submission_id("k" * length)

    assert len(hashed) == 64
    assert hashed == submission_id("k" * length)


def test_stored_inputs_lie_in_a_folder_of_their_request_and_content() -> None:
    folder = storage_id("team-a", "team-a", "workflow", "token-123", {"key": "value"})

    assert folder == "team-a/workflow-token-123-3861ebedfa64e10a-e43abcf33752"
    assert storage_id("a", "a", "w", "t", {}) == "a/" + story_run_name("a", "w", "t")
    assert len(storage_id("a", "a", "w" * 240, "t", {"k": 1})) <= 253 + len("a/")
