"""How packets are delivered to one step: the streaming settings of a Story, with their defaults, as plain values.

Source: streaming contract 4 and 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from core.api.duration import parse_duration

if TYPE_CHECKING:
    from core.api.streaming import Streaming

DEFAULT_MESSAGES: Final = 100
DEFAULT_BYTES: Final = 10 * 1024 * 1024
DEFAULT_CHANNEL_BUFFER: Final = 16
"""What an SDK uses when ``BUBU_GRPC_CHANNEL_BUFFER_SIZE`` is not set."""


class DropPolicy(StrEnum):
    """Which packet goes when the buffer is full and nobody waits."""

    NEWEST = "drop_newest"
    OLDEST = "drop_oldest"


class Ordering(StrEnum):
    """What packets are numbered by."""

    NONE = "none"
    PER_STREAM = "per_stream"
    PER_PARTITION = "per_partition"


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """Delivery to one step. The defaults are those of the contract."""

    max_messages: int = DEFAULT_MESSAGES
    """Packets that wait for the step."""
    max_bytes: int = DEFAULT_BYTES
    max_age_seconds: float | None = None
    """Age at which a waiting packet is dropped; None: never."""
    drop_policy: DropPolicy = DropPolicy.NEWEST
    blocks: bool = True
    """Whether producers wait for a full buffer. If not (``flowControl.mode: none``), packets are dropped."""
    pause_percent: int = 90
    resume_percent: int = 50
    ordering: Ordering = Ordering.NONE
    at_least_once: bool = False
    window_messages: int = DEFAULT_CHANNEL_BUFFER
    """Packets that the step has received and not yet acknowledged. Never more than the channel buffer of its SDK, which
    drops the acknowledgements of what is beyond.
    """
    window_bytes: int = DEFAULT_BYTES
    redeliver_seconds: float = 30.0
    """Age of an unacknowledged packet at which it is sent again; it doubles with each attempt."""
    max_attempts: int | None = 4
    """Attempts after which a packet is a dead letter; None: no bound."""
    linger_seconds: float = 0.25
    """How long a copy is kept after the acknowledgement, which may overtake the outputs that the packet has caused."""

    @property
    def is_sequenced(self) -> bool:
        """Whether packets are numbered, and acknowledged by the step."""
        return self.at_least_once or self.ordering is not Ordering.NONE


DEFAULT_DELIVERY: Final = DeliverySettings()


def settings_of(
    streaming: Streaming | None,
    *,
    channel_buffer: int = DEFAULT_CHANNEL_BUFFER,
    redeliver_seconds: float = 30.0,
    max_attempts: int | None = 4,
) -> DeliverySettings:
    """The settings of a step with the merged ``streaming`` of its transport.

    Raises:
        ValueError: this hub does not support a value; the message names the field.
    """
    buffer = streaming.backpressure.buffer if streaming and streaming.backpressure else None
    flow = streaming.flow_control if streaming else None
    delivery = streaming.delivery if streaming else None
    lifecycle = streaming.lifecycle if streaming else None
    initial = flow.initial_credits if flow else None
    replay = (delivery.replay.mode if delivery and delivery.replay else None) or "none"
    _refuse_unsupported(streaming)
    ordering = Ordering((delivery.ordering if delivery else None) or "none")
    at_least_once = replay == "memory" or (delivery is not None and delivery.semantics == "at_least_once")
    if at_least_once and ordering is Ordering.NONE:
        ordering = Ordering.PER_STREAM
    pause, resume = _thresholds(streaming)
    max_messages = (buffer.max_messages if buffer else None) or DEFAULT_MESSAGES
    max_bytes = (buffer.max_bytes if buffer else None) or DEFAULT_BYTES
    in_flight = [channel_buffer, (initial.messages if initial else None) or max_messages]
    if lifecycle and lifecycle.max_in_flight:
        in_flight.append(lifecycle.max_in_flight)
    delay = flow.ack_every.max_delay if flow and flow.ack_every else None
    return DeliverySettings(
        max_messages=max_messages,
        max_bytes=max_bytes,
        max_age_seconds=(buffer.max_age_seconds if buffer else None) or None,
        drop_policy=DropPolicy((buffer.drop_policy if buffer else None) or "drop_newest"),
        blocks=(flow.mode if flow else None) != "none",
        pause_percent=pause,
        resume_percent=resume,
        ordering=ordering,
        at_least_once=at_least_once,
        window_messages=max(1, min(in_flight)),
        window_bytes=(initial.bytes if initial else None) or max_bytes,
        redeliver_seconds=redeliver_seconds,
        max_attempts=max_attempts,
        linger_seconds=parse_duration(delay).total_seconds() if delay else 0.25,
    )


def _refuse_unsupported(streaming: Streaming | None) -> None:
    """A setting without effect would promise what does not happen."""
    if streaming is None:
        return
    if streaming.delivery and streaming.delivery.replay and streaming.delivery.replay.mode == "durable":
        raise ValueError("delivery.replay.mode: durable is not supported by this hub; use memory")
    if streaming.partitioning and streaming.partitioning.mode == "hash":
        raise ValueError("partitioning.mode: hash is not supported by this hub; use preserve")
    if streaming.routing and streaming.routing.rules:
        raise ValueError("routing.rules: rules are not supported by this hub; remove them")
    if streaming.fan_in:
        raise ValueError("fanIn: joins are not supported by this hub; remove it, and each packet is sent by itself")
    if streaming.lanes:
        raise ValueError("lanes: lanes are not supported by this hub; remove them and set backpressure.buffer")


def _thresholds(streaming: Streaming | None) -> tuple[int, int]:
    """The fill levels, in percent, at which producers stop and go on. Source: streaming contract 4."""
    flow = streaming.flow_control if streaming else None
    pause = flow.pause_threshold.buffer_pct if flow and flow.pause_threshold else None
    resume = flow.resume_threshold.buffer_pct if flow and flow.resume_threshold else None
    pause = 90 if pause is None else pause
    resume = 50 if resume is None else resume
    return pause, pause // 2 if resume > pause else resume
