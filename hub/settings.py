"""How packets are delivered to one step: the streaming settings of a Story, with their defaults, as plain values.

Source: streaming contract 4 and 13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bubu_contract.durations import parse_duration
from core.story.streams import DEFAULT_DOWNSTREAMS

if TYPE_CHECKING:
    from core.api.streaming import Streaming

DEFAULT_MESSAGES: Final = 100
DEFAULT_BYTES: Final = 10 * 1024 * 1024
DEFAULT_CHANNEL_BUFFER: Final = 16
"""What an SDK uses when ``BUBU_GRPC_CHANNEL_BUFFER_SIZE`` is not set."""
DEFAULT_LANE_MESSAGES: Final = 100
DEFAULT_LANE_BYTES: Final = 1024 * 1024
DEFAULT_JOIN_SECONDS: Final = 120.0
DEFAULT_JOIN_ENTRIES: Final = 1_000
MAX_JOIN_ENTRIES: Final = 100_000
MAX_CHILDREN: Final = 8
"""StoryRuns that packets of one step have started, and are waited for at a time."""
PARTITION_KEYS: Final = ("partition_key", "partition-key", "bubu.partition_key", "bubu.partition")
"""Metadata whose first value is the key of a partition, if the settings name no other."""
TURN_SECONDS: Final = 600.0
"""How long the receipt of a packet is waited for that is not sent again, while others wait for their turn."""

_SCOPES: Final = ("storyrun", "participant")
_ENVELOPE_FIELDS: Final = {
    "partition": "",
    "kind": "bubu.envelope.kind",
    "messageId": "bubu.envelope.message_id",
    "message_id": "bubu.envelope.message_id",
    "timestampMs": "bubu.envelope.timestamp_ms",
    "timestamp_ms": "bubu.envelope.timestamp_ms",
}


class DropPolicy(StrEnum):
    """Which packet is dropped when the buffer is full and producers do not wait."""

    NEWEST = "drop_newest"
    OLDEST = "drop_oldest"


class Ordering(StrEnum):
    """What packets are numbered by."""

    NONE = "none"
    PER_STREAM = "per_stream"
    PER_PARTITION = "per_partition"


class ConcurrencyMode(StrEnum):
    """How many packets a step handles at a time: ``spec.concurrency`` of its Story."""

    PARALLEL = "parallel"
    """As many as the window allows."""
    SERIAL = "serial"
    """One after the other."""
    CANCEL_PREVIOUS = "cancelPrevious"
    """One, and only the newest of those that wait."""


class LaneKind(StrEnum):
    """What a packet carries."""

    AUDIO = "audio"
    VIDEO = "video"
    BINARY = "binary"
    PAYLOAD = "payload"


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """How much of one kind may wait for a step. Beyond, packets are dropped, also where producers wait otherwise."""

    kind: LaneKind
    max_messages: int = DEFAULT_LANE_MESSAGES
    max_bytes: int = DEFAULT_LANE_BYTES


class JoinMode(StrEnum):
    """How many branches make a joined packet."""

    ALL = "all"
    ANY = "any"
    QUORUM = "quorum"


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """How a step with several needs waits for the packets of one origin."""

    mode: JoinMode = JoinMode.ALL
    quorum: int = 0
    """With mode ``quorum``: how many branches suffice; 0: all."""
    seconds: float | None = DEFAULT_JOIN_SECONDS
    """How long the first branch waits, and a join is remembered; None: as long as there is room."""
    max_entries: int = DEFAULT_JOIN_ENTRIES
    needs_key: bool = True
    """Whether a packet without a key is lost where several branches are joined; if not, it passes by itself."""


class PartitionMode(StrEnum):
    """What the partition of a packet is."""

    NONE = "none"
    PRESERVE = "preserve"
    HASH = "hash"


class KeySource(StrEnum):
    """Where the key of a partition is."""

    METADATA = "metadata"
    PAYLOAD = "payload"
    INPUTS = "inputs"
    PARTITION = "partition"


@dataclass(frozen=True, slots=True)
class PartitionKey:
    """A place in a packet: for metadata, names, and the first that exists is used; else the parts of a path."""

    source: KeySource
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartitionSettings:
    """How packets to a step are spread over partitions."""

    mode: PartitionMode = PartitionMode.NONE
    key: PartitionKey = PartitionKey(KeySource.METADATA, PARTITION_KEYS)
    partitions: int | None = None
    sticky: bool = False


@dataclass(frozen=True, slots=True)
class RouteRule:
    """Allows or denies the steps in ``targets``, or all of them if it is empty, while ``when`` holds."""

    name: str
    allows: bool
    targets: frozenset[str] = frozenset()
    when: str = ""
    """A condition; blank: always."""


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """What the streaming settings of a step mean. All but the last three are about packets *to* it. The defaults are
    those of the contract.
    """

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
    concurrency: ConcurrencyMode = ConcurrencyMode.PARALLEL
    by_participant: bool = False
    """Whether ``concurrency`` counts the packets of each participant alone."""
    lanes: tuple[LaneSettings, ...] = ()
    join: JoinSettings | None = None
    """How the step joins the packets of its needs; None if nothing is said about that."""
    partitioning: PartitionSettings = PartitionSettings()
    rules: tuple[RouteRule, ...] = ()
    """Which steps receive the packets *of* the step."""
    max_downstreams: int = DEFAULT_DOWNSTREAMS
    """How many steps receive one packet *of* the step."""
    redact_fields: tuple[str, ...] = ()
    """``recording.redactFields``: fields of its packets, in both directions, that are shown to nobody."""
    trace_percent: float = 100.0
    """``observability.tracing``: the share of packets to trace, if the run is traced."""

    @property
    def is_sequenced(self) -> bool:
        """Whether packets are numbered, and acknowledged by the step."""
        return self.at_least_once or self.ordering is not Ordering.NONE or self.takes_turns

    @property
    def takes_turns(self) -> bool:
        """Whether a packet waits for the receipt of the one before."""
        return self.concurrency is not ConcurrencyMode.PARALLEL


DEFAULT_DELIVERY: Final = DeliverySettings()


def taking_turns(settings: DeliverySettings, mode: str, scope: str) -> DeliverySettings:
    """The settings of a step in a Story with this ``spec.concurrency``.

    Without ``at_least_once`` nothing is sent again, so the receipt of a packet is waited for much longer: until then no
    other packet may be sent.

    Raises:
        ValueError: ``mode`` or ``scope`` is none.
    """
    for field, word, known in (("mode", mode, tuple(ConcurrencyMode)), ("scope", scope, _SCOPES)):
        if word not in known:
            raise ValueError(f"spec.concurrency.{field}: {word!r} is not possible; use one of {', '.join(known)}")
    chosen = ConcurrencyMode(mode)
    if chosen is ConcurrencyMode.PARALLEL:
        return settings
    seconds = settings.redeliver_seconds if settings.at_least_once else max(settings.redeliver_seconds, TURN_SECONDS)
    by_participant = scope == _SCOPES[1]
    return replace(settings, concurrency=chosen, by_participant=by_participant, redeliver_seconds=seconds)


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
    recording = streaming.recording if streaming else None
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
        lanes=_lanes(streaming),
        join=_join(streaming),
        partitioning=_partitioning(streaming),
        rules=_rules(streaming),
        max_downstreams=_max_downstreams(streaming),
        redact_fields=tuple(recording.redact_fields or ()) if recording else (),
        trace_percent=_trace_percent(streaming),
    )


def delivery_to_jobs(settings: DeliverySettings) -> DeliverySettings:
    """The same for a step whose packets start Jobs: the hub itself keeps each packet until its Job has ended."""
    ordering = Ordering.PER_STREAM if settings.ordering is Ordering.NONE else settings.ordering
    return replace(
        settings,
        ordering=ordering,
        at_least_once=True,
        window_messages=min(settings.window_messages, MAX_CHILDREN),
        redeliver_seconds=math.inf,
        max_attempts=None,
        linger_seconds=0.0,
    )


def _trace_percent(streaming: Streaming | None) -> float:
    """Source: streaming contract 4. ``random`` means the same share as ``rate``."""
    tracing = streaming.observability.tracing if streaming and streaming.observability else None
    policy = ((tracing.sample_policy if tracing else None) or "rate").strip().lower()
    if tracing is None:
        return 100.0
    if tracing.enabled is False or policy == "never":
        return 0.0
    return 100.0 if policy == "always" or tracing.sample_rate is None else float(tracing.sample_rate)


def _refuse_unsupported(streaming: Streaming | None) -> None:
    """A setting without effect would promise what does not happen."""
    if streaming is None:
        return
    if streaming.delivery and streaming.delivery.replay and streaming.delivery.replay.mode == "durable":
        raise ValueError("delivery.replay.mode: durable is not supported by this hub; use memory")


def _lanes(streaming: Streaming | None) -> tuple[LaneSettings, ...]:
    """The lanes of packets to the step. Directives have no lane: they never wait here."""
    return tuple(
        LaneSettings(
            LaneKind(lane.kind), lane.max_messages or DEFAULT_LANE_MESSAGES, lane.max_bytes or DEFAULT_LANE_BYTES
        )
        for lane in (streaming.lanes if streaming else None) or ()
        if lane.kind != "control" and lane.direction != "publish"
    )


def _join(streaming: Streaming | None) -> JoinSettings | None:
    fan_in = streaming.fan_in if streaming else None
    if fan_in is None:
        return None
    mode = JoinMode(fan_in.mode or "all")
    if (mode is JoinMode.QUORUM) != (fan_in.quorum is not None):
        raise ValueError("fanIn.quorum: it is the number of steps that suffice with mode quorum; set both, or neither")
    seconds = DEFAULT_JOIN_SECONDS if fan_in.timeout_seconds is None else fan_in.timeout_seconds or None
    entries = min(fan_in.max_entries or DEFAULT_JOIN_ENTRIES, MAX_JOIN_ENTRIES)
    return JoinSettings(mode, fan_in.quorum or 0, seconds, entries)


def _partitioning(streaming: Streaming | None) -> PartitionSettings:
    found = streaming.partitioning if streaming else None
    if found is None:
        return PartitionSettings()
    key = _partition_key(found.key) if found.key else PartitionKey(KeySource.METADATA, PARTITION_KEYS)
    return PartitionSettings(PartitionMode(found.mode or "none"), key, found.partitions, bool(found.sticky))


def _partition_key(text: str) -> PartitionKey:
    """Source: streaming contract 13. A name of metadata may have dots: the whole rest is the name."""
    source, dot, rest = text.strip().partition(".")
    if dot and not rest:
        raise ValueError(f"partitioning.key: {text!r} ends with a dot; write a name after the dot")
    if dot and source in ("payload", "inputs"):
        return PartitionKey(KeySource(source), tuple(rest.split(".")))
    if dot and source == "envelope":
        if rest not in _ENVELOPE_FIELDS:
            names = ", ".join(f"envelope.{name}" for name in ("partition", "kind", "messageId", "timestampMs"))
            raise ValueError(f"partitioning.key: there is no {text}; use one of {names}")
        name = _ENVELOPE_FIELDS[rest]
        return PartitionKey(KeySource.METADATA, (name,)) if name else PartitionKey(KeySource.PARTITION, ())
    return PartitionKey(KeySource.METADATA, (rest if dot and source == "metadata" else text.strip(),))


def _rules(streaming: Streaming | None) -> tuple[RouteRule, ...]:
    routing = streaming.routing if streaming else None
    return tuple(
        RouteRule(
            name=rule.name or f"rules[{index}]",
            allows=rule.action != "deny",
            targets=frozenset((rule.target.steps if rule.target else None) or ()),
            when=(rule.when or "").strip(),
        )
        for index, rule in enumerate((routing.rules if routing else None) or ())
    )


def _max_downstreams(streaming: Streaming | None) -> int:
    routing = streaming.routing if streaming else None
    return (routing.max_downstreams if routing else None) or DEFAULT_DOWNSTREAMS


def _thresholds(streaming: Streaming | None) -> tuple[int, int]:
    """The fill levels, in percent, at which producers stop and go on. Source: streaming contract 4."""
    flow = streaming.flow_control if streaming else None
    pause = flow.pause_threshold.buffer_pct if flow and flow.pause_threshold else None
    resume = flow.resume_threshold.buffer_pct if flow and flow.resume_threshold else None
    pause = 90 if pause is None else pause
    resume = 50 if resume is None else resume
    return pause, pause // 2 if resume > pause else resume
