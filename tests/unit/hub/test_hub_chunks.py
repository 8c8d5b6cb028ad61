"""Chunks become the packet that they were, in any order, within bounds. (hub/chunks.py)"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_wire.codec import decode, encode
from bubu_wire.errors import MessageError
from bubu_wire.messages import MAX_FRAME_BYTES, AudioFrame, BinaryFrame, DataRequest, StreamEnvelope
from hub.chunks import MAX_ASSEMBLIES, MAX_BYTES, MAX_SECONDS, ChunkAssembler


def chunk(index: int, count: int, payload: bytes, **place: Any) -> bytes:
    envelope = StreamEnvelope("s", 7, chunk_id="c", chunk_index=index, chunk_count=count)
    metadata = {"index": str(index)}
    return encode(DataRequest(BinaryFrame(payload, "a/b", 5), metadata, envelope=replace(envelope, **place)))


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=6), st.randoms(use_true_random=False), st.data())
def test_parts_in_any_order_and_repeated_become_the_whole(parts: list[bytes], chance: Any, data: st.DataObject) -> None:
    total = data.draw(st.sampled_from([0, sum(map(len, parts))]))
    order = [*range(len(parts)), *data.draw(st.lists(st.integers(0, len(parts) - 1), max_size=4))]
    chance.shuffle(order)
    assembler = ChunkAssembler()
    seen = set()
    for index in order:
        found = assembler.add(chunk(index, len(parts), parts[index], total_bytes=total, partition="p"), 0.0)
        seen.add(index)
        assert (found is not None) == (len(seen) == len(parts))
        if found is None:
            continue
        whole = decode(DataRequest, found)
        assert whole.frame == BinaryFrame(b"".join(parts), "a/b", 5)
        assert whole.metadata == {"index": "0"}
        assert whole.envelope == StreamEnvelope(partition="p")

    assembler.done(StreamEnvelope("s", chunk_id="c", partition="p"))
    assert (assembler.held, assembler.size, assembler.lost) == (0, 0, 0)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([chunk(0, 2, b"ab", chunk_bytes=3)], "chunk_bytes is 3"),
        ([chunk(0, 2, b"a"), chunk(1, 3, b"b")], "must be the same"),
        ([chunk(0, 2, b"a", total_bytes=9), chunk(1, 2, b"b")], "must be the same"),
        ([chunk(0, 2, b"a", total_bytes=9), chunk(1, 2, b"b", total_bytes=9)], "total_bytes is 9"),
        ([chunk(0, 2, b"a", total_bytes=MAX_FRAME_BYTES + 1)], "more than"),
        ([chunk(0, 2, bytes(MAX_FRAME_BYTES)), chunk(1, 2, b"b")], "more than"),
    ],
)
def test_parts_that_contradict_each_other_are_given_up_together(parts: list[bytes], problem: str) -> None:
    assembler = ChunkAssembler()
    for part in parts[:-1]:
        assert assembler.add(part, 0.0) is None
    with pytest.raises(MessageError, match=problem):
        assembler.add(parts[-1], 0.0)
    assert (assembler.held, assembler.size) == (0, 0)


def test_only_binary_frames_have_parts() -> None:
    place = StreamEnvelope("s", chunk_id="c", chunk_count=1)
    with pytest.raises(MessageError, match="must be a BinaryFrame"):
        ChunkAssembler().add(encode(DataRequest(AudioFrame(8_000, 1, b"a"), envelope=place)), 0.0)


def test_packets_that_are_never_completed_are_bounded_and_counted() -> None:
    assembler = ChunkAssembler()
    for number in range(MAX_ASSEMBLIES + 10):
        assembler.add(chunk(0, 2, b"a", chunk_id=str(number)), float(number) / 1_000)
    assert (assembler.held, assembler.lost) == (MAX_ASSEMBLIES, 10)

    large = bytes(MAX_FRAME_BYTES - 10)
    for number in range(4):
        assembler.add(chunk(0, 2, large, chunk_id=f"large {number}"), 1.0)
        assert assembler.size <= MAX_BYTES

    lost = assembler.lost + assembler.held
    assembler.add(chunk(0, 2, b"a", chunk_id="late"), 1.0 + MAX_SECONDS)
    assert (assembler.held, assembler.lost) == (1, lost)
