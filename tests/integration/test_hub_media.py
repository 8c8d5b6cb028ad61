"""Sound, film and other bytes from a source through a hub and a transform to a sink, each a process of the SDK.

What arrives is compared whole: bytes, codec, rates, sizes, times, payload and metadata.
"""

from __future__ import annotations

import base64
import json
import pickle
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import trio

from bubu_sdk import Audio, Binary, Packet, Video
from tests.integration.stream_line import DEADLINE_SECONDS, open_line, until

TOPOLOGY: Final = """
runs:
  - namespace: team
    name: run-1
    story: media
    steps:
      - name: record
        binding: {name: record, uid: a}
      - name: pass
        needs: [record]
        binding: {name: pass, uid: b}
        streaming: {delivery: {semantics: at_least_once}}
      - name: keep
        needs: [pass]
        binding: {name: keep, uid: c}
        runtime: {who: "{{ packet.metadata.participant }}"}
        streaming: {delivery: {semantics: at_least_once}}
"""
"""To ``pass`` the hub sends the bytes as they came; for ``keep`` it evaluates inputs and writes each packet anew."""

EVERY_BYTE: Final = bytes(range(256))
SENT: Final = (
    Packet(frame=Audio(EVERY_BYTE * 4, 48_000, 2, "pcm16", 1_700_000_000_123), metadata={"participant": "ann"}),
    Packet(
        {"text": "grüße"}, Audio(b"\xff" * 961, 8_000, 1, "opus"), {"participant": "ann", "type": "speech.audio.v1"}
    ),
    Packet(frame=Video(EVERY_BYTE * 1024, "", 256, 256, 1_700_000_000_456, raw=True), metadata={"participant": "bob"}),
    Packet({"key": True}, Video(b"\x00\x00\x00\x01g" + EVERY_BYTE, "h264", 1280, 720, 7), {"participant": "bob"}),
    Packet(frame=Video(b"\x00", "vp9"), metadata={"participant": "\u00e9"}),
    Packet(frame=Binary(EVERY_BYTE[::-1], "image/png", 1_700_000_000_789), metadata={"participant": "cy"}),
)
SOURCE: Final = """
    import pickle, sys
    from pathlib import Path
    from bubu_sdk import stream

    @stream
    def main():
        yield from pickle.loads(Path(sys.argv[0]).with_suffix(".packets").read_bytes())

    main.run()
"""
TRANSFORM: Final = """
    from bubu_sdk import Messages, Packet, stream

    @stream
    def main(messages: Messages):
        for message in messages:
            payload = message.payload if not isinstance(message.payload, bytes) else None
            yield Packet(payload, message.frame, message.metadata)

    main.run()
"""
SINK: Final = """
    import base64, json, os
    from dataclasses import asdict
    from bubu_sdk import Messages, stream

    @stream
    def main(messages: Messages):
        with open(os.environ["KEPT"], "a", buffering=1) as file:
            for message in messages:
                frame = {"kind": type(message.frame).__name__, **asdict(message.frame)}
                found = {"frame": frame, "payload": message.payload, "inputs": message.inputs}
                found["metadata"] = dict(message.metadata)
                print(json.dumps(found, default=lambda data: base64.b64encode(data).decode()), file=file)

    main.run()
"""


def written(packet: Packet) -> dict[str, Any]:
    """The line of the sink about a packet, without its metadata."""
    assert packet.frame is not None
    payload = packet.frame.payload if isinstance(packet.frame, Binary) else packet.payload
    found = {
        "frame": {"kind": type(packet.frame).__name__, **asdict(packet.frame)},
        "payload": payload,
        "inputs": {"who": packet.metadata["participant"]},
    }
    line: dict[str, Any] = json.loads(json.dumps(found, default=lambda data: base64.b64encode(data).decode()))
    return line


async def test_sound_and_film_arrive_whole_with_their_metadata(tmp_path: Path) -> None:
    commands = {}
    for step, text in (("record", SOURCE), ("pass", TRANSFORM), ("keep", SINK)):
        (tmp_path / f"{step}.py").write_text(textwrap.dedent(text))
        commands[step] = [sys.executable, str(tmp_path / f"{step}.py")]
    (tmp_path / "record.packets").write_bytes(pickle.dumps(SENT))
    async with open_line(tmp_path, commands, topology=TOPOLOGY) as line:
        for step in ("keep", "pass"):
            await line.begin(step)
        source = await line.begin("record")
        await until(lambda: line.kept.exists() and len(line.kept.read_text().splitlines()) >= len(SENT))
        with trio.fail_after(DEADLINE_SECONDS):
            assert await source.wait() == 0
        found = [json.loads(text) for text in line.kept.read_text().splitlines()]

    assert [{**each, "metadata": None} for each in found] == [{**written(each), "metadata": None} for each in SENT]
    for each, packet in zip(found, SENT, strict=True):
        assert packet.metadata.items() <= each["metadata"].items()
        assert each["metadata"]["current-step-id"] == "keep"
