"""Who may use the console of a step. (hub/console_grants.py)"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import Object
from hub.bindings import MOST_CONSOLE_REQUESTS, console_requests, trimmed
from hub.console_grants import (
    ConsoleGrantError,
    ConsoleReason,
    ConsoleRefusalError,
    ConsoleVerb,
    authorise,
    live_grants,
    read_grant,
)
from tests.unit.hub.cluster_samples import transport_binding

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEY = bytes(range(32))


def request(key: bytes = KEY, *, seconds: float = 60, verbs: Any = ("tap",), **more: Any) -> str:
    found = {"until": format_instant(NOW + timedelta(seconds=seconds)), "keySHA256": sha256(key).hexdigest()}
    return json.dumps({**found, "verbs": verbs, **more})


def asked(**requests: str) -> Object:
    binding = transport_binding("sink", uid="uid-sink")
    for name, text in requests.items():
        binding["metadata"]["annotations"][f"{keys.ANNOTATION_STREAM_CONSOLE}.{name}"] = text
    return binding


def refusal(binding: Object | None, key: bytes = KEY, verb: ConsoleVerb = ConsoleVerb.TAP) -> ConsoleReason:
    with pytest.raises(ConsoleRefusalError) as refused:
        authorise(binding, key, verb, NOW)
    return refused.value.reason


def test_the_holder_of_a_key_may_do_what_the_binding_says_until_then() -> None:
    binding = asked(a=request(), b=request(b"x" * 32, verbs=["send", "tap"]))

    assert authorise(binding, KEY, ConsoleVerb.TAP, NOW).until == NOW + timedelta(seconds=60)
    assert authorise(binding, b"x" * 32, ConsoleVerb.SEND, NOW).verbs == {ConsoleVerb.TAP, ConsoleVerb.SEND}
    assert refusal(binding, verb=ConsoleVerb.SEND) is ConsoleReason.WRONG_VERB
    assert refusal(binding, b"y" * 32) is ConsoleReason.UNKNOWN_KEY
    assert refusal(asked(), KEY) is ConsoleReason.UNKNOWN_KEY
    assert refusal(None, KEY) is ConsoleReason.UNKNOWN_KEY


def test_a_request_that_is_over_or_far_ahead_does_not_count() -> None:
    for seconds in (0, -1, 301):
        binding = asked(a=request(seconds=seconds))
        assert refusal(binding) is ConsoleReason.EXPIRED
        assert live_grants(binding, NOW) == []
    assert len(live_grants(asked(a=request(seconds=300)), NOW)) == 1


def test_a_malformed_request_is_told_to_its_author_and_disturbs_no_other() -> None:
    binding = asked(a="{", b=request())

    assert authorise(binding, KEY, ConsoleVerb.TAP, NOW)
    with pytest.raises(ConsoleRefusalError, match=r"transport.bubustack.io/console.a .* must be a JSON object") as told:
        authorise(binding, b"x" * 32, ConsoleVerb.TAP, NOW)
    assert told.value.reason is ConsoleReason.MALFORMED


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConsoleGrantError) as told:
        read_grant('{"until": "now", "keySHA256": "ABC", "verbs": ["watch"]}')
    assert [word.split()[0] for word in str(told.value).split("; ")] == ["until", "keySHA256", "verbs"]


def test_the_hub_keeps_the_requests_and_not_too_many() -> None:
    binding = asked(**{f"r{number:03}": request() for number in range(100)})
    binding["metadata"]["annotations"]["other"] = "x" * 1_000

    assert len(console_requests(binding)) == MOST_CONSOLE_REQUESTS
    kept = trimmed(binding)
    assert console_requests(kept) == console_requests(binding)
    assert "other" not in kept["metadata"]["annotations"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.sampled_from(["until", "keySHA256", "verbs", "x"]), JSON).map(json.dumps)


@given(st.text() | JSON.map(json.dumps) | FIELDS)
def test_noise_opens_nothing_and_never_disturbs_the_hub(noise: str) -> None:
    binding = asked(noise=noise, good=request())

    assert authorise(binding, KEY, ConsoleVerb.TAP, NOW)
    assert len(live_grants(binding, NOW)) == 1
    assert refusal(asked(noise=noise)) in (ConsoleReason.MALFORMED, ConsoleReason.UNKNOWN_KEY)


@given(JSON)
def test_annotations_of_any_form_are_survived(noise: Any) -> None:
    for place in ({"metadata": noise}, {"metadata": {"annotations": noise}}):
        assert console_requests(place) == {}
    binding = transport_binding("sink", uid="u")
    binding["metadata"]["annotations"][f"{keys.ANNOTATION_STREAM_CONSOLE}.a"] = noise
    assert live_grants(binding, NOW) == []
