"""A packet as people may see it: redacted, bounded, of every form. (hub/tap_sample.py)"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_wire.codec import encode
from bubu_wire.messages import AudioFrame, BinaryFrame, DataRequest, VideoFrame
from core.telemetry.logs import REDACTED
from hub.packets import PacketChecker
from hub.tap_sample import MAX_SHOWN_BYTES, MAX_VALUES, HiddenFields, sample_of
from tests.unit.hub.json_packets import json_packet

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def shown(message: bytes, *fields: str) -> dict[str, Any]:
    packet, content = PacketChecker().read(message)
    line = sample_of("out", ("sink",), packet, content, NOW, HiddenFields(fields))
    assert b"\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_packet_is_shown_with_all_that_it_says() -> None:
    sample = shown(json_packet({"text": "hello"}, {"n": 1}, message_id="m-1", user="ada"))

    assert (sample["at"], sample["direction"], sample["steps"]) == ("2026-01-02T03:04:05.678000Z", "out", ["sink"])
    assert (sample["id"], sample["kind"]) == ("m-1", "data")
    assert (sample["payload"], sample["inputs"]) == ({"text": "hello"}, {"n": 1})
    assert sample["metadata"] == {"user": "ada", "bubu.envelope.message_id": "m-1"}
    assert sample["bytes"] > 0


def test_a_packet_without_a_frame_of_json_is_shown_as_well() -> None:
    sample = shown(encode(DataRequest(None, {"kind": "note"}, {"text": "a"}, {"n": 2})))

    assert (sample["payload"], sample["inputs"], sample["kind"]) == ({"text": "a"}, {"n": 2}, "note")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (AudioFrame(16_000, 1, b"x" * 320, "pcm"), {"kind": "audio", "media": "pcm", "bytes": 320}),
        (VideoFrame(b"y" * 90_000, "vp8"), {"kind": "video", "media": "vp8", "bytes": 90_000}),
        (BinaryFrame(b"z" * 7, "image/png"), {"kind": "binary", "media": "image/png", "bytes": 7}),
    ],
)
def test_media_are_told_by_their_size(frame: Any, said: dict[str, Any]) -> None:
    sample = shown(encode(DataRequest(frame, {"a": "b"})))

    assert sample["frame"] == said
    assert "payload" not in sample
    assert "xxx" not in json.dumps(sample)


def test_what_looks_like_a_secret_is_blanked_wherever_it_is() -> None:
    payload = {
        "user": {"api_key": "k-1", "name": "ada", "accessToken": "t-1"},
        "list": [{"password": "p-1"}],
        "text": "Authorization: Bearer abcdefghijkl",
        "empty": {"secret": ""},
    }
    sample = shown(json_packet(payload, {"clientSecret": "s-1"}, x_auth_token="t-2"))

    text = json.dumps(sample)
    assert not [secret for secret in ("k-1", "t-1", "p-1", "abcdefghijkl", "s-1", "t-2") if secret in text]
    assert sample["payload"]["user"] == {"api_key": REDACTED, "name": "ada", "accessToken": REDACTED}
    assert sample["metadata"]["x_auth_token"] == REDACTED


@pytest.mark.parametrize(
    ("field", "hidden"),
    [
        ("email", ["a@b", "c@d", "e@f", "g@h"]),
        ("payload.user.email", ["a@b"]),
        ("user.email", ["a@b", "e@f"]),
        ("$.payload.users[*].email", ["c@d"]),
        ("payload/users/email", ["c@d"]),
        ("*.user.email", ["a@b", "e@f"]),
        ("inputs.user", ["e@f"]),
        ("metadata.email", ["g@h"]),
        ("payload.user", ["a@b"]),
        ("nothing.here", []),
    ],
)
def test_fields_that_the_stream_redacts_are_blanked(field: str, hidden: list[str]) -> None:
    payload = {"user": {"email": "a@b"}, "users": [{"email": "c@d"}]}
    text = json.dumps(shown(json_packet(payload, {"user": {"email": "e@f"}}, email="g@h"), field))

    assert [secret for secret in ("a@b", "c@d", "e@f", "g@h") if secret not in text] == hidden


def test_a_large_payload_is_cut_and_says_how_much_is_missing() -> None:
    sample = shown(json_packet({"text": "x" * 20_000}))

    assert "payload" not in sample
    assert len(sample["payloadText"]) <= MAX_SHOWN_BYTES
    assert sample["payloadCut"] == 20_011 - len(sample["payloadText"])


def test_what_is_very_large_is_told_by_its_size_alone() -> None:
    for packet in (json_packet({"text": "x" * 200_000}), encode(DataRequest(None, {}, {"text": "x" * 200_000}))):
        sample = shown(packet)
        assert sample["payloadCut"] > 200_000
        assert "payloadText" not in sample


class CountingFields(HiddenFields):
    """Counts the fields that are looked at."""

    looked_at = 0

    def hide(self, path: Sequence[str]) -> bool:
        self.looked_at += 1
        return super().hide(path)


def test_many_values_cost_no_more_than_some() -> None:
    """64 KiB of small values: as costly as a packet can be that is read."""
    packet, content = PacketChecker().read(json_packet({"n": [{"a": 1}] * 8_000}, with_structs=False))
    hidden = CountingFields(["a.b.c"])
    line = sample_of("out", (), packet, content, NOW, hidden)

    assert len(line) < 2 * MAX_SHOWN_BYTES
    assert hidden.looked_at < MAX_VALUES


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), JSON, max_size=5), st.text())
def test_every_packet_has_a_line_of_bounded_length(payload: dict[str, Any], field: str) -> None:
    sample = shown(json_packet(payload, with_structs=False), field)

    assert len(json.dumps(sample).encode()) < 64 * 1024
    assert "unreadable" not in sample
