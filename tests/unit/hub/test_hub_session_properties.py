"""Whatever a client sends, its session raises nothing, and each call and fault is reported once. (session.py)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bubu_wire.codec import encode
from bubu_wire.limits import Limits
from bubu_wire.messages import (
    BINDING_HEADER,
    CONTROL_METHOD,
    DATA_METHOD,
    PROTOCOL_HEADER,
    ControlAction,
    ControlRequest,
)
from bubu_wire.metadata import Metadata
from bubu_wire.screen import PREFACE
from bubu_wire.server import ServerConnection
from bubu_wire.status import Status, StatusCode
from hub.admission import Admitted
from hub.client_refusal import ClientRefusal, Refused
from hub.receipts import Receipt
from hub.session import METHODS, ClientSession, SessionTimeouts
from hub.topology import Client, Place
from tests.unit.hub.modelled_client import text_packet
from tests.unit.hub.stand import RUN
from tests.unit.wire.pair import REQUEST, data, frame, request

WHO: Final = Admitted(Place(RUN, "emit"), "uid", Client(1))
MOST_BYTES: Final = 1_000
PER_READ: Final = 3


@dataclass
class RecordedHandler:
    """A hub that admits whoever says ``yes``."""

    is_full: bool
    attached: int = 0
    ended: list[tuple[str, StatusCode]] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)

    def admit(self, metadata: Metadata) -> Admitted | Refused:
        if dict(metadata).get(BINDING_HEADER) == "yes":
            return WHO
        return Refused(ClientRefusal.WRONG_TOKEN, Status(StatusCode.FAILED_PRECONDITION, "no"))

    def attach(self, who: Admitted, session: ClientSession) -> Refused | None:
        if self.is_full:
            return Refused(ClientRefusal.LEFTOVERS, Status(StatusCode.UNAVAILABLE, "full"), who.place)
        self.attached += 1
        return None

    def detach(self, who: Admitted, session: ClientSession) -> None:
        self.attached -= 1

    def silent(self, who: Admitted) -> None:
        pass

    def call_ended(self, path: str, code: StatusCode, seconds: float) -> None:
        assert seconds >= 0
        self.ended.append((path, code))

    def refused(self, refused: Refused, peer: str) -> None:
        assert peer == "10.0.0.1:7"
        self.refusals.append(refused)

    def arrived(self, who: Admitted, session: ClientSession, messages: Sequence[bytes]) -> bool:
        session.consumed(len(messages), len(messages))
        return False

    def go_on(self, who: Admitted) -> bool:
        return False

    def receipts(self, who: Admitted, receipts: Sequence[Receipt]) -> None:
        pass

    def written(self, who: Admitted, session: ClientSession, *, everything: bool) -> None:
        pass


def called(stream: int, path: str, *headers: tuple[str, str]) -> bytes:
    given = tuple((name, path if name == ":path" else value) for name, value in REQUEST)
    return request(stream, (*given, *headers))


def message(stream: int, content: bytes) -> bytes:
    return data(stream, b"\x00" + len(content).to_bytes(4, "big") + content)


VERSION: Final = (PROTOCOL_HEADER, "1.0.0")
STREAMS: Final = (1, 3, 5)
TOO_LARGE: Final = tuple(data(stream, b"\x00" + (MOST_BYTES + 1).to_bytes(4, "big")) for stream in STREAMS)
PIECES: Final = (
    *(called(stream, DATA_METHOD, VERSION) for stream in STREAMS),
    *(called(stream, CONTROL_METHOD, VERSION, (BINDING_HEADER, "yes")) for stream in STREAMS),
    *(called(stream, CONTROL_METHOD, VERSION, (BINDING_HEADER, "no")) for stream in STREAMS),
    called(5, DATA_METHOD),
    called(5, "/another/Method"),
    *(message(stream, encode(text_packet("a"))) for stream in STREAMS),
    *(message(stream, encode(ControlRequest(ControlAction.HEARTBEAT))) for stream in STREAMS),
    *TOO_LARGE,
    *(data(stream, b"\x01\x00\x00\x00\x00") for stream in STREAMS),
    *(frame(0, flags=1, stream=stream) for stream in STREAMS),
    *(frame(3, bytes(4), stream=stream) for stream in STREAMS),
    frame(6, bytes(8)) * 60,
    frame(1, bytes(4), stream=7),
    (1 << 20).to_bytes(3, "big") + bytes(6),
)
TIMES: Final = st.floats(0, 30, allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(
    reads=st.lists(st.tuples(st.lists(st.sampled_from(PIECES), min_size=1, max_size=PER_READ), TIMES), max_size=8),
    is_full=st.booleans(),
)
@example(reads=[([PIECES[0]], 0.0), ([PIECES[1], TOO_LARGE[1]], 0.0)], is_full=False)
@example(reads=[([PIECES[0], PIECES[1], PIECES[0]], 0.0)], is_full=False)
def test_no_client_breaks_its_session_and_everything_is_reported_once(
    reads: list[tuple[list[bytes], float]], is_full: bool
) -> None:
    handler = RecordedHandler(is_full)
    connection = ServerConnection(METHODS, Limits(max_calls=4, max_message_bytes=MOST_BYTES))
    session = ClientSession(handler, connection, 0.0, SessionTimeouts(), lambda: None, lambda: None, "10.0.0.1:7")
    session.receive(PREFACE + frame(4), 0.0)
    now = 0.0
    for pieces, seconds in reads:
        now += seconds
        session.tick(now)
        if session.is_over:
            break
        session.receive(b"".join(pieces), now)
        connection.data_to_send()
        assert handler.attached == session.is_attached
    session.receive_eof()
    assert (session.is_over, handler.attached) == (True, 0)

    ended = len(handler.ended)
    session.receive_eof()
    session.refuse(Status(StatusCode.UNAVAILABLE, "again"))
    assert len(handler.ended) == ended, "no call ends twice"
    assert {path for path, _ in handler.ended} <= {DATA_METHOD, CONTROL_METHOD}
    final = [each.reason for each in handler.refusals if each.reason is not ClientRefusal.SECOND_CALL]
    assert len(final) <= 2, "what ended the session, and perhaps that its connection broke a rule in the same read"
    if StatusCode.FAILED_PRECONDITION in {code for _, code in handler.ended}:
        assert handler.refusals, "nobody is told that he is refused without a record of it"


def test_a_client_that_does_not_read_its_answers_is_left_and_reported() -> None:
    handler = RecordedHandler(is_full=False)
    connection = ServerConnection(METHODS, Limits(max_backlog_bytes=MOST_BYTES))
    session = ClientSession(handler, connection, 0.0, SessionTimeouts(), lambda: None, lambda: None, "10.0.0.1:7")
    session.receive(PREFACE + frame(4) + PIECES[0] + called(3, CONTROL_METHOD, VERSION, (BINDING_HEADER, "yes")), 0.0)
    asked = message(3, encode(ControlRequest(ControlAction.HEARTBEAT)))
    while not session.is_over:
        session.receive(asked * 10, 0.0)
        connection.data_to_send()  # as much as the window of the client allows, which it never opens again

    (refused,) = handler.refusals
    assert (refused.reason, refused.place) == (ClientRefusal.UNREAD, WHO.place)
    assert len(handler.ended) == 2
