"""Worked examples of the Trigger contract, 2.2 and 2.7."""

from __future__ import annotations

import json

import pytest

from core.workloads.submission import input_hash, story_run_name

ODD = (
    '{"z":1,"a":{"url":"https://x.test/?a=1&b=<2>","n":1.50,"big":12345678901234567890,"tiny":0.0000001},'
    '"list":[true,null,"\\u2028"],"neg":-0.0}'
)


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("null", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (" { } ", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
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
    assert input_hash(json.loads(text)) == digest


def test_half_a_letter_is_hashed_as_the_letter_that_stands_for_it() -> None:
    assert input_hash({"a": "\ud800"}) == input_hash({"a": "\ufffd"})


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
        ("default", "workflow", "a" * 256, "workflow-5922bd2833ccd0d7"),
        ("default", "b" * 250, "token", f"{'b' * 236}-de2b498a1a5a5ea1"),
        ("", "story", "plain", "story-plain"),
    ],
)
def test_a_key_names_its_run(namespace: str, story: str, identity: str, name: str) -> None:
    assert story_run_name(namespace, story, identity) == name
