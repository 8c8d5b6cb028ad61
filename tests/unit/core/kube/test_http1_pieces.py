"""The reader of answers against h11, the other implementation: any answer, in pieces of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import h11
import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from core.kube.http1 import AnswerReader

NAMES = ("Date", "audit-id", "X-Kubernetes-Pf-Flowschema-Uid", "Content-Type", "Connection", "keep-alive")
VALUES = st.text("abc XYZ-;=/0123456789", max_size=12).map(str.strip)


@dataclass(frozen=True)
class Read:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    is_complete: bool
    allows_another: bool


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """With a length, in chunks, or until the end of the connection; perhaps after hints."""
    status = draw(st.sampled_from([200, 201, 204, 304, 400, 404, 409, 410, 422, 429, 500, 503]))
    body = b"" if status in (204, 304) else draw(st.binary(max_size=40))
    lines = [
        f"{name}: {value}" for name, value in draw(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4))
    ]
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" * draw(st.integers(0, 2))
    match draw(st.sampled_from(["length", "chunks", "connection"])) if status not in (204, 304) else "none":
        case "length":
            lines.append(f"Content-Length: {len(body)}")
            wire = body
        case "chunks":
            lines.append("Transfer-Encoding: chunked")
            cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=4)))
            parts = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
            wire = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
            trailer = draw(st.sampled_from([b"", b"x-after: 1\r\n"]))
            wire += b"0\r\n" + trailer + b"\r\n"
        case _:
            wire = body
    version = draw(st.sampled_from(["1.1", "1.1", "1.0"]))
    head = "\r\n".join([f"HTTP/{version} {status} Words", *lines, "", ""]).encode()
    return hints + head + wire


@st.composite
def pieces(draw: st.DrawFn) -> Sequence[bytes]:
    whole = draw(answers())
    if draw(st.booleans()):
        whole = whole[: draw(st.integers(0, len(whole)))]  # the server leaves early
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    found = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    return [piece for piece in found if piece]


def read_here(parts: Sequence[bytes]) -> Read | None:
    """None: it is not an answer, or not a whole one."""
    reader = AnswerReader()
    try:
        for part in parts:
            reader.feed(part)
        if not reader.is_complete:
            reader.end()
    except httpx.RemoteProtocolError:
        return None
    assert reader.head is not None
    status, headers, _ = reader.head
    return Read(status, headers, reader.take(), reader.is_complete, reader.allows_another)


def read_by_h11(parts: Sequence[bytes]) -> Read | None:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "a"), ("connection", "keep-alive")]))
    connection.send(h11.EndOfMessage())
    head: h11.Response | None = None
    body, has_closed = b"", False
    try:
        for part in (*parts, b""):
            if connection.their_state is h11.DONE:
                break
            connection.receive_data(part)
            has_closed = not part
            while not isinstance(event := connection.next_event(), type) or event not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    break
    except h11.RemoteProtocolError:
        return None
    if head is None:
        return None
    are_done = connection.our_state is h11.DONE and connection.their_state is h11.DONE
    return Read(head.status_code, list(head.headers), body, True, are_done and not has_closed)


@given(parts=pieces())
@example(parts=[b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{", b"}"])
def test_an_answer_in_pieces_is_what_h11_reads(parts: Sequence[bytes]) -> None:
    assert read_here(parts) == read_by_h11(parts)


@given(data=st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_an_answer_or_an_error_of_httpx(data: Sequence[bytes]) -> None:
    read_here([b"HTTP/1.1 200 OK\r\n", *(part for part in data if part)])
