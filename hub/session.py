"""One connection of a step's container: its Data and Control calls, and what is allowed when. Without I/O.

An SDK opens Data first, without a word about who it is, and then Control with its token. So what arrives on Data waits
until Control was admitted; then the session serves its step. Each of the two ends the session when it ends. Directives
are answered as the reference's connector answers them. A client that counts on it learns how many of its packets were
accepted (``upstream.accepted``); others ignore that. Source: streaming contract 9 to 11.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from bubu_wire.codec import decode, encode
from bubu_wire.errors import BacklogError, MessageError, UnknownCallError
from bubu_wire.events import CallEnded, CallStarted, ConnectionEnded, Event, MessagesReceived, PeerFinished
from bubu_wire.inspection import HEARTBEAT_KEY
from bubu_wire.messages import (
    CONTROL_METHOD,
    DATA_METHOD,
    ControlAction,
    ControlRequest,
    ControlResponse,
    DataResponse,
)
from bubu_wire.metadata import Metadata
from bubu_wire.screen import ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR
from bubu_wire.server import ServerConnection
from bubu_wire.status import OK, Status, StatusCode
from hub.admission import Admitted, refusal_of_protocol
from hub.client_refusal import ClientRefusal, Refused
from hub.open_calls import OpenCalls
from hub.receipts import RECEIPT_ACTION, Receipt, ReceiptReader, receipt_of

METHODS: Final = (DATA_METHOD, CONTROL_METHOD)
SEND_BYTES: Final = 1024 * 1024
"""Packets that are queued for the connection, beside one."""
ACCEPTED_EVERY: Final = 64
ACCEPTED_SECONDS: Final = 0.002

_HEARTBEAT: Final = encode(DataResponse(metadata={HEARTBEAT_KEY: "true"}))
_READY: Final = encode(
    ControlResponse(ControlAction.CONNECTOR_READY, {"startup.capabilities": "none", "upstream.accepts": "1"})
)
_PING: Final = b"bobrapet"
_TOO_LATE: Final = Status(StatusCode.FAILED_PRECONDITION, "Data and an admitted Control must be open in time")
_UNREAD: Final = "the client does not read its messages"
_ENDS_OF_CALLS: Final = (StatusCode.OK, StatusCode.CANCELLED, StatusCode.UNAVAILABLE)
"""Of calls that the client, or the end of its connection, has ended."""


@dataclass(frozen=True, slots=True)
class SessionTimeouts:
    """How long a client may be silent, in seconds."""

    admission: float = 10.0
    """From the connection until Data is open and Control admitted."""
    heartbeat: float = 10.0
    """Between the heartbeats that we send on Data."""
    ping: float = 20.0
    """Without any byte, until the hub asks whether the client is alive."""
    answer: float = 20.0
    """Until that has to be answered."""
    control: float = 100.0
    """Without any directive: an SDK sends a heartbeat on Control every 30 s."""


class SessionHandler(Protocol):
    """What a session asks of the hub."""

    def admit(self, metadata: Metadata) -> Admitted | Refused:
        """Whether the client of a Control call with this metadata may serve a step."""
        ...

    def attach(self, who: Admitted, session: ClientSession) -> Refused | None:
        """Let the session serve its step; returns why it cannot."""
        ...

    def detach(self, who: Admitted, session: ClientSession) -> None:
        """The session has ended."""
        ...

    def silent(self, who: Admitted) -> None:
        """The session ends because its client gives no sign of life."""
        ...

    def call_ended(self, path: str, code: StatusCode, seconds: float) -> None:
        """A call was open for so long."""
        ...

    def refused(self, refused: Refused, peer: str) -> None:
        """A client at the address ``peer`` is turned away, or has broken a rule."""
        ...

    def arrived(self, who: Admitted, session: ClientSession, messages: Sequence[bytes]) -> bool:
        """Encoded packets from the client; returns whether ``go_on`` has more to do."""
        ...

    def go_on(self, who: Admitted) -> bool:
        """Route more of what has arrived; returns whether there is more to do."""
        ...

    def receipts(self, who: Admitted, receipts: Sequence[Receipt]) -> None:
        """The client is done with packets."""
        ...

    def written(self, who: Admitted, session: ClientSession, *, everything: bool) -> None:
        """Bytes were written to the client; ``everything``: no packet is queued any more."""
        ...


class ClientSession:
    """The state of one connection. Its owner passes it bytes and the time, and writes what there is to send."""

    def __init__(
        self,
        handler: SessionHandler,
        connection: ServerConnection,
        now: float,
        timeouts: SessionTimeouts,
        wake_writer: Callable[[], None],
        request_tick: Callable[[], None],
        peer: str = "",
    ) -> None:
        """``wake_writer`` is called when there is something to write or the session is over, ``request_tick`` when
        ``tick`` is due earlier. ``peer`` is the address of the client.
        """
        self.connection = connection
        self.is_over = False
        """Nothing more is read; the owner writes what is left and closes."""
        self.who: Admitted | None = None
        """The step, once Control was admitted."""
        self.is_attached = False
        self._handler = handler
        self._peer = peer
        self._timeouts = timeouts
        self._wake_writer = wake_writer
        self._request_tick = request_tick
        self._data: int | None = None
        self._control: int | None = None
        self._calls = OpenCalls(handler.call_ended)
        self._early: list[bytes] = []
        """What Data has brought before the session was attached. Its window bounds it."""
        self._unread = 0
        """Messages of Data that were not consumed yet."""
        self._has_finished = False
        """The client sends nothing more on Data."""
        self._accepted = self._reported = 0
        self._reported_at = -math.inf
        self._will_report = False
        self._receipts = ReceiptReader()
        self._begun = self._heard = self._directed = self._beaten = now
        self._asked_at = math.inf
        self._now = now

    # What the owner does.

    def receive(self, data: bytes, now: float) -> bool:
        """Take bytes of the client; returns whether ``go_on`` has more to do."""
        self._now = self._heard = now
        self._asked_at = math.inf
        events = self.connection.receive(data, now)
        more = self._handle(events)
        if events and isinstance(events[-1], ConnectionEnded) and events[-1].error_code:
            self._note(_refusal_of_connection(events[-1]))
        return more

    def receive_eof(self) -> None:
        """The transport has ended."""
        self._handle(self.connection.receive_eof())
        self._end()

    def go_on(self) -> bool:
        """Route more of what has arrived; returns whether there is more to do."""
        return self.who is not None and self._handler.go_on(self.who)

    def written(self) -> None:
        """Bytes were written."""
        if self.is_attached and self.who is not None:
            backlog = self.connection.backlog(self._data) if self._data is not None else 0
            self._handler.written(self.who, self, everything=backlog == 0)

    def tick(self, now: float) -> float:
        """Do what the time asks for; returns when to come back, at the latest."""
        self._now = now
        timeouts = self._timeouts
        if self.is_over:
            return math.inf
        if not self.is_attached:
            due = self._begun + timeouts.admission
            if now >= due:
                self._turn_away(Refused(self._missing_call(), _TOO_LATE))
            return due
        if now >= self._directed + timeouts.control:
            self._end_of_silence()
            self.refuse(Status(StatusCode.UNAVAILABLE, "the client has sent no heartbeat on Control"))
            return math.inf
        if now >= self._asked_at + timeouts.answer:
            self._end_of_silence()
            self._close("the client has not answered a ping")
            return math.inf
        if now >= self._heard + timeouts.ping and self._asked_at == math.inf:
            self._asked_at = now
            self.connection.ping(_PING)
            self._wake_writer()
        if now >= self._beaten + timeouts.heartbeat:
            self._beaten = now
            if self._data is not None and self.connection.backlog(self._data) == 0:
                self._send(self._data, [_HEARTBEAT])
        if self._accepted > self._reported and now >= self._reported_at + ACCEPTED_SECONDS:
            self._report_accepted()
        return min(
            self._directed + timeouts.control,
            self._beaten + timeouts.heartbeat,
            self._heard + timeouts.ping if self._asked_at == math.inf else self._asked_at + timeouts.answer,
            self._reported_at + ACCEPTED_SECONDS if self._accepted > self._reported else math.inf,
        )

    # What the hub does.

    def refuse(self, status: Status) -> None:
        """End the session with ``status`` on both calls. One that is over stays as it is."""
        if self.is_over:
            return
        for call in (self._control, self._data):
            if call is not None:
                with suppress(UnknownCallError):
                    self.connection.finish(call, status)
                self._calls.ended(call, status.code, self._now)
        if self._control is self._data is None:
            self._close("no call was opened in time")
        self._end()

    def hold(self) -> None:
        """Let the client send no more packets than its window has left; it may acknowledge and receive."""
        if self._data is not None:
            self.connection.pause(self._data)

    def room(self) -> int:
        if self._data is None or self.is_over:
            return 0
        return SEND_BYTES - self.connection.backlog(self._data)

    def send(self, messages: Sequence[bytes]) -> None:
        if self._data is not None:
            self._send(self._data, messages)

    def consumed(self, messages: int, packets: int) -> None:
        self._unread -= messages
        self._accepted += packets
        if self.is_over or self._data is None:
            return
        self.connection.consumed(self._data, messages)
        news = self._accepted - self._reported
        if news >= ACCEPTED_EVERY or (news and self._now >= self._reported_at + ACCEPTED_SECONDS):
            self._report_accepted()
        elif news and not self._will_report:
            self._will_report = True
            self._request_tick()
        self._finish_if_done()
        if self.connection.has_output():
            self._wake_writer()

    # Events.

    def _handle(self, events: Iterable[Event]) -> bool:
        more = False
        for event in events:
            if self.is_over:
                break
            match event:
                case MessagesReceived():
                    more = self._on_messages(event) or more
                case CallStarted():
                    more = self._on_call(event) or more
                case PeerFinished():
                    self._on_finished(event.call)
                case CallEnded():
                    self._calls.ended(event.call, event.status.code, self._now)
                    if event.call in (self._data, self._control):
                        self._forget(event.call)
                        if event.status.code not in _ENDS_OF_CALLS:
                            self._note(Refused(ClientRefusal.MESSAGE, event.status))
                        self.refuse(Status(StatusCode.UNAVAILABLE, "the other call of the session has ended"))
                case ConnectionEnded():
                    self._end()
                case _:
                    pass
        return more

    def _on_call(self, event: CallStarted) -> bool:
        is_data = event.path == DATA_METHOD
        self._calls.began(event.call, event.path, self._now)
        if (self._data if is_data else self._control) is not None:
            text = "this connection has such a call already; open a connection for each session"
            status = Status(StatusCode.FAILED_PRECONDITION, text)
            self._note(Refused(ClientRefusal.SECOND_CALL, status))
            with suppress(UnknownCallError):  # the same bytes have ended it
                self.connection.finish(event.call, status)
            self._calls.ended(event.call, status.code, self._now)
            return False
        if is_data:
            self._data = event.call
            self.connection.pause(event.call)  # a stranger may fill one window, beside what came with the call
        else:
            self._control = event.call
            self._directed = self._now
        refusal = refusal_of_protocol(event.metadata)
        if refusal is None and not is_data:
            found = self._handler.admit(event.metadata)
            if isinstance(found, Refused):
                refusal = found
            else:
                self.who = found
                self._send(event.call, [_READY])
        if refusal is not None:
            self._turn_away(refusal)
            return False
        return self._attach()

    def _attach(self) -> bool:
        if self.who is None or self._data is None:
            return False
        refusal = self._handler.attach(self.who, self)
        if refusal is not None:
            self._turn_away(refusal)
            return False
        self.is_attached = True
        self.connection.resume(self._data)
        self._beaten = self._now
        early, self._early = self._early, []
        more = bool(early) and self._handler.arrived(self.who, self, early)
        self._finish_if_done()
        self._wake_writer()
        self._request_tick()
        return more

    def _on_messages(self, event: MessagesReceived) -> bool:
        if event.call == self._control:
            self.connection.consumed(event.call, len(event.messages))
            self._on_control(event.messages)
            return False
        if event.call != self._data:
            return False
        self._unread += len(event.messages)
        if not self.is_attached or self.who is None:
            self._early += event.messages
            return False
        return self._handler.arrived(self.who, self, event.messages)

    def _on_finished(self, call: int) -> None:
        if call == self._data:
            self._has_finished = True
            self._finish_if_done()
        elif call == self._control:
            self.refuse(OK)

    def _finish_if_done(self) -> None:
        """End the calls of a client that has sent everything, once everything was accepted."""
        if self._has_finished and self.is_attached and self._unread == 0 and not self.is_over:
            if self._accepted > self._reported:
                self._report_accepted()
            self.refuse(OK)

    # Control.

    def _on_control(self, messages: Sequence[bytes]) -> None:
        self._directed = self._now
        receipts, read = [], self._receipts.read
        for message in messages:
            receipt = read(message)
            if receipt is not None:
                receipts.append(receipt)
                continue
            try:
                request = decode(ControlRequest, message)
            except MessageError as error:
                self._answer(ControlAction.ERROR, {"message": str(error)[:1000]})
                continue
            if request.custom_action == RECEIPT_ACTION:
                if (receipt := receipt_of(request.metadata)) is not None:
                    receipts.append(receipt)
            else:
                self._on_directive(request)
            if self.is_over:
                return
        if receipts and self.is_attached and self.who is not None:
            self._handler.receipts(self.who, receipts)

    def _on_directive(self, request: ControlRequest) -> None:
        """Source: streaming contract 10."""
        if not request.custom_action and request.action in (ControlAction.ACK, ControlAction.ERROR):
            return
        name = action_text(request)
        if name == "heartbeat":
            self._answer(ControlAction.ACK, {"received": name, "handled": "true", "status": "alive"})
            return
        reason = "empty" if name == "noop" else "unsupported" if name in _UNSUPPORTED else "unknown"
        self._answer(ControlAction.ACK, {"received": name[:1024], "handled": "false", "reason": reason})

    def _answer(self, action: ControlAction, metadata: dict[str, str]) -> None:
        if self._control is not None:
            self._send(self._control, [encode(ControlResponse(action, metadata))])

    def _report_accepted(self) -> None:
        self._reported, self._reported_at, self._will_report = self._accepted, self._now, False
        if self._control is not None:
            metadata = {"packets": str(self._accepted)}
            self._send(self._control, [encode(ControlResponse(metadata=metadata, custom_action="upstream.accepted"))])

    # The end.

    def _send(self, call: int, messages: Sequence[bytes]) -> None:
        try:
            self.connection.send_messages(call, messages)
        except UnknownCallError:
            return  # the client has ended it; the event is under way
        except BacklogError:
            self._note(Refused(ClientRefusal.UNREAD, Status(StatusCode.UNAVAILABLE, _UNREAD)))
            self._close(_UNREAD)
        self._wake_writer()

    def _missing_call(self) -> ClientRefusal:
        if self._control is self._data is None:
            return ClientRefusal.NO_CALL
        return ClientRefusal.NO_CONTROL if self.who is None else ClientRefusal.NO_DATA

    def _turn_away(self, refused: Refused) -> None:
        self._note(refused)
        self.refuse(refused.status)

    def _note(self, refused: Refused) -> None:
        """Tell the hub, with the step of a client that has shown a genuine token."""
        if refused.place is None and self.who is not None:
            refused = replace(refused, place=self.who.place)
        self._handler.refused(refused, self._peer)

    def _forget(self, call: int) -> None:
        if call == self._data:
            self._data = None
        else:
            self._control = None

    def _end_of_silence(self) -> None:
        if self.who is not None:
            self._handler.silent(self.who)

    def _close(self, why: str) -> None:
        self.connection.close(reason=why)
        self._end()

    def _end(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._calls.all_ended(StatusCode.UNAVAILABLE, self._now)
        if self.is_attached and self.who is not None:
            self.is_attached = False
            self._handler.detach(self.who, self)
        self._wake_writer()
        self._request_tick()


_OF_CODES: Final = {FRAME_SIZE_ERROR: ClientRefusal.FRAME_SIZE, ENHANCE_YOUR_CALM: ClientRefusal.FLOOD}
_NO_HTTP2: Final = "the client breaks the rules of HTTP/2, or does not speak it (error code {code} of RFC 9113)"
_UNSUPPORTED: Final = frozenset(
    {"start", "stop", "start-upstream", "stop-upstream", "start-downstream", "stop-downstream", "pause", "resume"}
    | {"codec-select"}
)


def _refusal_of_connection(event: ConnectionEnded) -> Refused:
    """Why the connection of a client was ended. Texts about broken rules may quote headers, so they are not used."""
    reason = _OF_CODES.get(event.error_code, ClientRefusal.HTTP2)
    text = event.reason if reason is not ClientRefusal.HTTP2 else _NO_HTTP2.format(code=event.error_code)
    return Refused(reason, Status(StatusCode.UNAVAILABLE, text))


def action_text(request: ControlRequest) -> str:
    """The name of a directive, as SDKs know it. Source: streaming contract 9."""
    if request.custom_action:
        return request.custom_action
    try:
        name = ControlAction(request.action).name
    except ValueError:
        return str(int(request.action))
    if name == "UNSPECIFIED":
        return "noop"
    parted = name.split("_", 1)
    joined = parted[0] in ("HANDOFF", "CONNECTOR")
    return name.replace("_", "." if joined else "-").lower()
