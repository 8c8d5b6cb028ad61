"""What a signal leaves in the status: never a value, except an envelope that is made to be shown. (signals.py)"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bubu_sdk import signals, status
from bubu_sdk.errors import Object
from bubu_sdk.status import SignalEvent

NOW = datetime(2026, 1, 1, 10, 0, 0, tzinfo=UTC)
SECRET = "sesame"


def emitted(value: Any, limit: int = signals.DEFAULT_MAX_PAYLOAD_BYTES) -> tuple[Object | None, SignalEvent]:
    """What is stored as the latest value, and the event."""
    update = signals.update("progress", value, now=NOW, max_payload_bytes=limit)
    (event,) = update.signal_events
    return update.signals["progress"], event


def test_the_example_of_the_contract() -> None:
    digest = "4062edaf750fb8074e7e83e0c9028c94e32468a8b6f1614774328ef045150f93"
    brief = {"details": {"len": 1}, "sha256": digest, "sizeBytes": 11, "type": "map"}

    assert emitted({"ok": True}) == ({**brief, "redacted": True}, SignalEvent("progress", NOW, brief))


@pytest.mark.parametrize(
    ("value", "type_", "details"),
    [
        ({"a": 1, "b": 2}, "map", {"len": 2}),
        ([1, 2, 3], "array", {"len": 3}),
        ("é", "string", {"len": 2}),
        (True, "bool", None),
        (7, "int", None),
        (7.5, "float", None),
    ],
)
def test_a_summary_has_size_hash_and_type_and_for_some_types_a_length(
    value: Any, type_: str, details: Object | None
) -> None:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    expected = {"sizeBytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), "type": type_}

    assert signals.summary(value) == (expected if details is None else {**expected, "details": details})


def test_nothing_removes_the_key_and_is_an_event_without_a_payload() -> None:
    assert emitted(None) == (None, SignalEvent("progress", NOW, None))


def test_an_envelope_within_the_limit_is_shown_and_its_event_is_a_summary() -> None:
    envelope = signals.text_envelope("half way", sample=True)

    shown, event = emitted(envelope)

    assert shown == envelope
    assert event.payload == signals.summary(envelope)


def test_an_envelope_above_the_limit_is_a_summary() -> None:
    envelope = signals.text_envelope(SECRET * 20, sample=True)
    size = len(json.dumps(envelope, separators=(",", ":")))

    assert emitted(envelope, size)[0] == envelope
    assert emitted(envelope, size - 1)[0] == {**signals.summary(envelope), "redacted": True}


@pytest.mark.parametrize(
    "value",
    [
        {"meta": {"note": SECRET}},
        {"meta": {"format": "text"}, "sample": SECRET},
        {"meta": SECRET},
        {"meta": {"format": "text", "sizeBytes": 1}, "sample": SECRET, SECRET: 1},
    ],
)
def test_what_only_looks_like_an_envelope_is_not_shown(value: Any) -> None:
    assert SECRET not in str(emitted(value))


def test_a_sample_is_there_only_on_request_and_ends_with_a_whole_character() -> None:
    text = "é" * 1500

    assert "sample" not in signals.text_envelope(text)
    assert signals.text_envelope(text, sample=True)["sample"] == {"text": "é" * 1024, "truncated": True}


_HIDDEN = st.text("abcxyz", min_size=3, max_size=12).map(lambda text: SECRET + text)
_VALUES = st.recursive(
    _HIDDEN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_HIDDEN, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(_VALUES)
def test_neither_values_nor_names_of_keys_reach_the_status(value: Any) -> None:
    update = signals.update("progress", value, now=NOW)

    assert SECRET not in str(status.merge({}, update))
