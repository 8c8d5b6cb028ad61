"""What a signal leaves in the status: a small value, an envelope for people, or a summary. (signals.py)"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bubu_sdk import Context, redaction, signals, status
from bubu_sdk.errors import Object
from bubu_sdk.kube import status_error
from bubu_sdk.status import SignalEvent
from bubu_sdk.testing import EngramEnvironment

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

    assert emitted({"ok": True}) == ({**brief, "value": {"ok": True}}, SignalEvent("progress", NOW, brief))


@pytest.mark.parametrize("value", [3, "half way", 0.5, True, [1, 2], {"percent": 50}])
def test_a_small_value_is_in_the_status(value: Any) -> None:
    shown, event = emitted(value)

    assert shown == {**signals.summary(value), "value": value}
    assert event.payload == signals.summary(value)


def test_a_larger_value_is_a_summary() -> None:
    fits, too_large = "x" * (signals.SHOWN_VALUE_BYTES - 2), "x" * (signals.SHOWN_VALUE_BYTES - 1)

    assert emitted(fits)[0] == {**signals.summary(fits), "value": fits}
    assert emitted(too_large)[0] == {**signals.summary(too_large), "redacted": True}


@pytest.mark.parametrize("value", [{"token": "abc"}, "password=abc", [{"header": f"bearer is {SECRET}"}], {SECRET: 1}])
def test_a_value_with_a_credential_is_a_summary(value: Any) -> None:
    with redaction.scope():
        redaction.know([SECRET])

        assert emitted(value)[0] == {**signals.summary(value), "redacted": True}


def test_a_secret_in_a_text_for_people_is_hidden() -> None:
    with redaction.scope():
        redaction.know([SECRET])
        shown, _ = emitted(signals.text_envelope(f"opened with {SECRET}"))

    assert shown is not None
    assert shown["sample"] == {"text": "opened with [REDACTED]"}


def test_values_of_many_keys_leave_room_for_the_output() -> None:
    value = "x" * 200
    stored: Object = {}
    for number in range(256):
        stored = status.merge(stored, signals.update(f"key-{number}", value, now=NOW))

    shown = [signal for signal in stored["signals"].values() if "value" in signal]
    assert len(stored["signals"]) == 256
    assert 70 < len(shown) <= status.MAX_SHOWN_VALUES_BYTES / 200
    assert len(json.dumps(stored, separators=(",", ":"))) < 128 * 1024 - 8 * 1024
    again = status.merge(stored, signals.update("key-0", "newer", now=NOW))
    assert again["signals"]["key-0"]["value"] == "newer"


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
    envelope = signals.text_envelope("half way")

    shown, event = emitted(envelope)

    assert shown == envelope
    assert event.payload == signals.summary(envelope)


def test_an_envelope_above_the_limit_is_a_summary() -> None:
    envelope = signals.text_envelope(SECRET * 20)
    size = len(json.dumps(envelope, separators=(",", ":")))

    assert emitted(envelope, size)[0] == envelope
    assert emitted(envelope, size - 1)[0] == {**signals.summary(envelope), "redacted": True}


@pytest.mark.parametrize(
    "value",
    [
        {"meta": {"note": SECRET}},
        {"meta": {"format": "text"}, "sample": SECRET},
        {"meta": SECRET},
        {"meta": {"format": "text", "sizeBytes": 1}, "sample": SECRET, "more": 1},
    ],
)
def test_what_only_looks_like_an_envelope_is_a_value(value: Any) -> None:
    long = {**value, "filling": "x" * signals.SHOWN_VALUE_BYTES}

    assert emitted(value)[0] == {**signals.summary(value), "value": value}
    assert emitted(long)[0] == {**signals.summary(long), "redacted": True}


def test_a_sample_ends_with_a_whole_character_and_may_be_left_out() -> None:
    text = "é" * 1500

    assert "sample" not in signals.text_envelope(text, sample=False)
    assert signals.text_envelope(text)["sample"] == {"text": "é" * 1024, "truncated": True}


_HIDDEN = st.text("abcxyz", min_size=3, max_size=12).map(lambda text: SECRET + text)
_VALUES = st.recursive(
    _HIDDEN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_HIDDEN, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(_VALUES)
def test_neither_secrets_nor_names_with_them_reach_the_status(value: Any) -> None:
    with redaction.scope():
        redaction.know([SECRET])
        update = signals.update("progress", value, now=NOW)

    assert SECRET not in str(status.merge({}, update))


def test_a_signal_that_cannot_be_stored_is_named_in_the_log_and_does_not_fail_the_step() -> None:
    environment = EngramEnvironment(environ={"BUBU_K8S_PATCH_MAX_RETRIES": "1"})
    signals = iter(range(1))

    def refuse(method: str, _: str, body: Any) -> None:
        if method == "PATCH" and "signals" in body["status"] and next(signals, None) is None:
            raise status_error(507, "no space left; free some disk space and try again")

    def main(ctx: Context[Any]) -> Any:
        ctx.emit_signal("stored", 1)
        ctx.emit_signal("lost", 2)
        return {"n": 3}

    environment.cluster.before = refuse
    outcome = environment.run(main)

    assert (outcome.exit_code, outcome.output, list(outcome.signals)) == (0, {"n": 3}, ["stored"])
    (said,) = [record["msg"] for record in outcome.logs if "lost" in record["msg"]]
    assert "signal 'lost' is not stored" in said
    assert "507" in said


@pytest.mark.parametrize("code", [413, 422, 501])
def test_a_signal_that_is_refused_for_what_it_is_is_an_error(code: int) -> None:
    environment = EngramEnvironment(environ={"BUBU_K8S_PATCH_MAX_RETRIES": "1"})
    refusals: list[int] = []

    def refuse(method: str, _: str, body: Any) -> None:
        if method == "PATCH" and "signals" in body["status"]:
            refusals.append(code)
            raise status_error(code, "no")

    environment.cluster.before = refuse
    outcome = environment.run(lambda ctx: ctx.emit_signal("lost", 2))

    assert outcome.exit_code == 1
    assert refusals
