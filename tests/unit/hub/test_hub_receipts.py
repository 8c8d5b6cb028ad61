"""Receipts are read the short way exactly as the decoder reads them, or not at all. (hub/receipts.py)"""

from __future__ import annotations

import itertools
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from bubu_wire.codec import decode, encode, serialize
from bubu_wire.errors import MessageError
from bubu_wire.messages import ControlAction, ControlRequest
from bubu_wire.protobuf import with_length
from hub.receipts import RECEIPT_ACTION, Receipt, ReceiptReader, receipt_of

PAIRS: Final = (("stream_id", "team/run/step@1"), ("sequence", "1234"), ("partition", "ä"), ("size_bytes", "400"))


def written(pairs: tuple[tuple[str, str], ...]) -> bytes:
    """A receipt with its pairs in this order: Go writes maps in any order."""
    entries = [with_length(1, name.encode()) + with_length(2, text.encode()) for name, text in pairs]
    return b"".join(with_length(2, entry) for entry in entries) + with_length(4, RECEIPT_ACTION.encode())


def test_receipts_are_read_in_any_order_of_their_pairs() -> None:
    reader = ReceiptReader()
    for _ in range(2):
        for pairs in itertools.permutations(PAIRS):
            assert reader.read(written(pairs)) == Receipt("team/run/step@1", "ä", 1234)


texts = st.sampled_from(["", "1", "77", "-1", "1_0", "¹", "x" * 130, "ä", "1" * 21, "team/run"])
names = st.sampled_from(["sequence", "stream_id", "partition", "size_bytes", "other", "n" * 120])
requests = st.builds(
    lambda action, pairs, custom: serialize(ControlRequest(action, pairs, custom_action=custom)),
    st.sampled_from([ControlAction.UNSPECIFIED, ControlAction.HEARTBEAT]),
    st.dictionaries(names, texts, max_size=4),
    st.sampled_from([RECEIPT_ACTION, RECEIPT_ACTION, "other", ""]),
)
anything = st.one_of(
    requests,
    st.lists(st.tuples(names, texts), max_size=5).map(lambda pairs: written(tuple(pairs))),
    st.builds(
        lambda message, at, byte: message[: at % (len(message) + 1)] + bytes((byte,)) + message[at % 40 + 1 :],
        requests,
        st.integers(0, 200),
        st.integers(0, 255),
    ),
    st.binary(max_size=60),
    st.binary(max_size=20).map(lambda start: start + with_length(4, RECEIPT_ACTION.encode())),
)


@given(st.lists(anything, min_size=1, max_size=4))
def test_what_is_read_is_what_the_decoder_finds(messages: list[bytes]) -> None:
    reader = ReceiptReader()
    for message in (*messages, *messages):
        found = reader.read(message)
        if found is None:
            continue
        try:
            request = decode(ControlRequest, message)
        except MessageError:
            continue  # a bound that does not matter for a receipt
        assert request.custom_action == RECEIPT_ACTION
        assert found == receipt_of(request.metadata)


def test_a_number_elsewhere_in_the_message_is_not_taken_for_the_sequence() -> None:
    """What the reader has learned from one message must not mislead it in the next."""
    hidden = "\x08sequence\x12\x0277"
    reader = ReceiptReader()
    for number in ("12", "34", "56"):
        for pairs in itertools.permutations((("stream_id", hidden), ("sequence", number), ("x", hidden))):
            is_first = pairs[0][0] == "sequence"  # else the hidden one is found first, and the decoder must read it
            assert reader.read(written(pairs)) == (Receipt(hidden, "", int(number)) if is_first else None)


def test_what_is_remembered_of_receipts_is_bounded() -> None:
    reader = ReceiptReader()
    for number in range(2_000):
        message = encode(ControlRequest(metadata={"sequence": "1", "x": str(number)}, custom_action=RECEIPT_ACTION))
        assert reader.read(message) == Receipt("", "", 1)

    assert len(reader._known) <= 128
