"""What a streaming function reads: messages, one after the other, each with its data in the function's type.

A message is finished when the function asks for the next one, or returns; after ``hold`` it is finished by ``done``. It
is done, and the hub gets its receipt, when it is finished and everything that was sent for it is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic

from bubu_sdk import decode
from bubu_sdk.errors import InputError, Object
from bubu_sdk.streaming import waiting
from bubu_sdk.streaming.exchange import Exchange
from bubu_sdk.streaming.inbox import Delivery
from bubu_sdk.streaming.outputs import Outputs
from bubu_sdk.streaming.packets import Audio, Binary, Frame, Video

if TYPE_CHECKING:  # a type checker knows this module even if it is not installed
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS: Final = 253_402_300_799_999
_BURST: Final = 32
"""An ``async`` function lets other tasks run after so many messages or outputs that it need not wait for."""


class Message(Generic[T]):
    """One message. ``data`` is what most functions need; the rest says where it comes from."""

    __slots__ = ("_content", "_count", "_delivery", "_feed", "_finished", "_held", "data")

    data: T
    """The inputs if the message has any but the step's ``with``, else the payload, as the type in ``Messages[…]``.

    For ``Messages[Audio]``, ``Messages[Video]`` and ``Messages[Binary]`` it is the frame; for ``Messages[bytes]`` the
    bytes of a ``Binary`` frame.
    """

    def __init__(self, feed: Feed, delivery: Delivery, data: T) -> None:
        self._feed = feed
        self._delivery = delivery
        self._content = delivery.content
        self._held = self._finished = False
        self._count = 0
        self.data = data

    @property
    def payload(self) -> Any:
        """What the step before has sent: plain JSON, or the bytes of a ``Binary`` frame; None if only a frame came."""
        return self._content.payload

    @property
    def inputs(self) -> Object | None:
        """The step's ``runtime``, evaluated by the hub, else what the step before has set, else the step's ``with``;
        None without.
        """
        return self._content.all_inputs

    @property
    def frame(self) -> Frame | None:
        """Audio, video or other bytes."""
        return self._content.frame

    @property
    def metadata(self) -> Mapping[str, str]:
        """Metadata of the packet, for example ``participant``."""
        return self._content.metadata

    @property
    def kind(self) -> str:
        """``data`` for most; ``error``, ``hook`` or what another function has chosen."""
        return self._content.kind

    @property
    def id(self) -> str:
        """The name of the message; empty if it has none."""
        return self._content.message_id

    @property
    def timestamp(self) -> datetime | None:
        """When it was sent, with time zone UTC; None if unknown."""
        stamp = self._content.timestamp_ms
        return _EPOCH + timedelta(milliseconds=stamp) if 0 < stamp <= _LATEST_MS else None

    @property
    def partition(self) -> str:
        """The partition of the stream; empty without."""
        return self._delivery.place.partition

    @property
    def sequence(self) -> int:
        """The number in the stream; 0 if the hub does not number its messages."""
        return self._delivery.place.sequence

    def hold(self) -> None:
        """Do not finish this message when the next one is taken; call ``done`` later.

        For functions that work on several messages at once, or collect them. The hub sends only so many messages
        before it has receipts (``BUBU_GRPC_CHANNEL_BUFFER_SIZE``), so hold fewer than that.
        """
        self._held = True

    def done(self) -> None:
        """Nothing more is sent for this message. Any thread or task may call it, more than once."""
        self._feed.finish(self)

    def __repr__(self) -> str:
        return f"Message(id={self.id!r}, kind={self.kind!r}, sequence={self.sequence})"


class Feed:
    """The messages and outputs of one run of a function."""

    def __init__(self, exchange: Exchange, outputs: Outputs, target: Any, *, strict: bool = False) -> None:
        self._exchange = exchange
        self._outputs = outputs
        self._target = target
        self._strict = strict
        self._burst = 0
        self._taken: dict[int, Message[Any]] = {}
        self.current: Message[Any] | None = None
        """The message that ``yield`` answers: the last one that was taken and is not finished."""

    @property
    def ended(self) -> bool:
        """Whether there will be no further messages."""
        return self._exchange.ended

    def finish(self, message: Message[Any] | None) -> None:
        """Nothing more is sent for ``message``."""
        if message is None:
            return
        message._finished = True
        if self.current is message:
            self.current = None
        self._taken.pop(message._delivery.number, None)
        self._exchange.finish(message._delivery)

    def leave(self, message: Message[Any] | None) -> None:
        """The loop goes on to the next message."""
        if message is not None and not message._held:
            self.finish(message)
        elif self.current is message:
            self.current = None

    def finish_all(self) -> None:
        """The function has returned: every message is finished that it does not hold."""
        for message in tuple(self._taken.values()):
            if not message._held:
                self.finish(message)

    def poll(self) -> Message[Any] | None:
        """The next message that fits the function's type, if there is one now. One that does not fit is refused."""
        while (delivery := self._exchange.take()) is not None:
            try:
                data = self._data(delivery)
            except (InputError, RecursionError) as error:
                self._exchange.refuse(delivery, str(error))
                continue
            self.current = message = Message(self, delivery, data)
            self._taken[delivery.number] = message
            return message
        return None

    def next(self) -> Message[Any] | None:
        """The next message; None after the last one. Blocks."""
        while (message := self.poll()) is None:
            if self._exchange.ended:
                return self.poll()
            waiting.wait(self._exchange.watch_input, self._exchange.forget)
        return message

    async def next_async(self) -> Message[Any] | None:
        """The next message; None after the last one."""
        self._burst += 1
        if self._burst % _BURST == 0:
            await waiting.checkpoint()
        while (message := self.poll()) is None:
            if self._exchange.ended:
                return self.poll()
            await waiting.wait_async(self._exchange.watch_input, self._exchange.forget)
        return message

    def send(self, value: Any, message: Message[Any] | None) -> None:
        """Send an output; blocks while too many wait for the hub."""
        packets, delivery = self._prepared(value, message)
        while packets and not self._exchange.put(packets, delivery):
            waiting.wait(self._exchange.watch_room, self._exchange.forget)

    async def send_async(self, value: Any, message: Message[Any] | None) -> None:
        """Send an output; waits while too many wait for the hub."""
        packets, delivery = self._prepared(value, message)
        self._burst += 1
        if self._burst % _BURST == 0:
            await waiting.checkpoint()
        while packets and not self._exchange.put(packets, delivery):
            await waiting.wait_async(self._exchange.watch_room, self._exchange.forget)

    def _prepared(self, value: Any, message: Message[Any] | None) -> tuple[list[bytes], Delivery | None]:
        if message is None:
            return self._outputs.packets_of(value, None, 0), None
        if message._finished:
            raise ValueError("this message is done, so nothing can be sent for it; call done() after the last output")
        message._count += 1
        return self._outputs.packets_of(value, message._delivery, message._count), message._delivery

    def _data(self, delivery: Delivery) -> Any:
        content, target = delivery.content, self._target
        if target in (Audio, Video, Binary):
            if not isinstance(content.frame, target):
                raise InputError(f"the message has no {target.__name__} frame")
            return content.frame
        data = content.payload if content.inputs is None else content.inputs
        if target is Any:
            return content.frame if data is None else data
        name = "payload" if content.inputs is None else "inputs"
        if target is bytes:
            if not isinstance(data, bytes):
                raise InputError("the message has no bytes")
            return data
        if isinstance(data, bytes):
            raise InputError(f"{name}: expected an object, got {len(data)} bytes")
        return decode.decode(data, target, name, strict=self._strict)


class Messages(Generic[T]):
    """The messages of a plain function: ``for message in messages``. The loop ends at SIGTERM.

    ``Messages[Question]`` has data of that type (dataclass, TypedDict, pydantic model, ``Audio``, …); a message that
    does not fit is refused and skipped. Several threads may each have a loop; a message goes to one of them.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __iter__(self) -> MessageIterator[T]:
        return MessageIterator(self._feed)


class MessageIterator(Generic[T]):
    """One loop over ``Messages``."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._message: Message[Any] | None = None

    def __iter__(self) -> MessageIterator[T]:
        return self

    def __next__(self) -> Message[T]:
        self._feed.leave(self._message)
        self._message = self._feed.next()
        if self._message is None:
            raise StopIteration
        return self._message


class AsyncMessages(Generic[T]):
    """The messages of an ``async`` function: ``async for message in messages``. See ``Messages``."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __aiter__(self) -> AsyncMessageIterator[T]:
        return AsyncMessageIterator(self._feed)


class AsyncMessageIterator(Generic[T]):
    """One loop over ``AsyncMessages``."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._message: Message[Any] | None = None

    def __aiter__(self) -> AsyncMessageIterator[T]:
        return self

    async def __anext__(self) -> Message[T]:
        self._feed.leave(self._message)
        self._message = None
        self._message = await self._feed.next_async()
        if self._message is None:
            raise StopAsyncIteration
        return self._message
