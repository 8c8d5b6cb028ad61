"""Message flow between realtime steps, as declared in Transports and Stories. Source: Streaming contract 4."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from core.api.schema import DNS_LABEL, Int32, WireModel

Direction = Literal["publish", "subscribe", "bidirectional"]
RolloutStrategy = Literal["rolling", "drain_cutover", "blue_green"]


class StreamHook(StrEnum):
    """What the hub tells the steps whose ``if`` names it, as ``packet.type``. Source: Streaming contract 14."""

    STEP_READY = "steprun.ready"
    """A step has connected for the first time."""
    RUN_READY = "storyrun.ready"
    """All streaming steps of the run are connected."""


class BackpressureBuffer(WireModel):
    """Messages held per destination step."""

    drop_policy: Literal["drop_newest", "drop_oldest"] | None = Field(
        None, description="Which message is dropped when the buffer is full: `drop_newest` (default) or `drop_oldest`."
    )
    max_age_seconds: Int32 | None = Field(
        None, ge=0, description="Seconds after which a held message is dropped; 0 or absent: never."
    )
    max_bytes: Int32 | None = Field(None, ge=0, description="Bytes held; 0 or absent: the hub's limit (10 MiB).")
    max_messages: Int32 | None = Field(None, ge=0, description="Messages held; 0 or absent: the hub's limit (100).")


class Backpressure(WireModel):
    """What happens when a receiver is slower than its sender."""

    buffer: BackpressureBuffer | None = Field(None, description="Messages held per destination step.")


class Replay(WireModel):
    """Repetition of messages that were not acknowledged."""

    checkpoint_interval: str | None = Field(None, description="Time between checkpoints as a Go duration; default 1s.")
    mode: Literal["none", "memory", "durable"] | None = Field(
        None,
        description="Where messages wait: `none` (default) or `memory`, which implies `at_least_once`. `durable` is "
        "refused: it is not built yet.",
    )
    retention_seconds: Int32 | None = Field(None, ge=0, description="Seconds a message can be replayed.")


class Delivery(WireModel):
    """Order, repetition and replay of messages."""

    ordering: Literal["none", "per_stream", "per_partition"] | None = Field(
        None, description="Order kept: `none` (default), `per_stream` or `per_partition`."
    )
    replay: Replay | None = Field(None, description="Repetition of messages that were not acknowledged.")
    semantics: Literal["best_effort", "at_least_once"] | None = Field(
        None, description="`best_effort` (default) or `at_least_once`."
    )


class FanIn(WireModel):
    """How a step with several upstreams waits for them."""

    max_entries: Int32 | None = Field(
        None, ge=1, description="Groups of messages waiting at a time, 1 or more; default: the hub's limit."
    )
    mode: Literal["all", "any", "quorum"] | None = Field(
        None, description="A group is complete with `all` (default), `any` or a `quorum` of upstreams."
    )
    quorum: Int32 | None = Field(
        None,
        ge=1,
        description="Upstreams that make a group complete, 1 or more; required with mode `quorum`, else forbidden.",
    )
    timeout_seconds: Int32 | None = Field(
        None, ge=0, description="Seconds an incomplete group waits; default: the hub's limit."
    )


class AckEvery(WireModel):
    """How often a receiver acknowledges; whatever comes first."""

    bytes: Int32 | None = Field(None, ge=0, description="Acknowledge after this many bytes.")
    max_delay: str | None = Field(None, description="Acknowledge after this Go duration at the latest; default 250ms.")
    messages: Int32 | None = Field(None, ge=0, description="Acknowledge after this many messages; default 10.")


class InitialCredits(WireModel):
    """What may be sent before the first acknowledgement."""

    bytes: Int32 | None = Field(None, ge=0, description="Bytes; 0 or absent: the buffer's limit.")
    messages: Int32 | None = Field(None, ge=0, description="Messages; 0 or absent: the buffer's limit.")


class BufferThreshold(WireModel):
    """A fill level of the buffer."""

    buffer_pct: Int32 | None = Field(
        None, ge=0, le=100, description="Share of the buffer in use, in percent, 0 to 100."
    )


class FlowControl(WireModel):
    """Credits that keep senders from overrunning receivers."""

    ack_every: AckEvery | None = Field(None, description="How often the receiver acknowledges.")
    initial_credits: InitialCredits | None = Field(
        None, description="What may be sent before the first acknowledgement; default: the buffer's limits."
    )
    mode: Literal["none", "credits", "window"] | None = Field(
        None, description="`credits` (default), `window` or `none`."
    )
    pause_threshold: BufferThreshold | None = Field(
        None, description="Fill level at which the sender pauses; default 90 percent."
    )
    resume_threshold: BufferThreshold | None = Field(
        None, description="Fill level at which the sender continues; default 50 percent."
    )


class Lane(WireModel):
    """One kind of traffic; each name and each kind at most once."""

    kind: Literal["audio", "video", "binary", "payload", "control"] = Field(
        description="`audio`, `video`, `binary`, `payload` or `control`."
    )
    name: str = Field(min_length=1, pattern=DNS_LABEL, description="Name of the lane, a DNS label.")
    description: str | None = Field(None, description="What the lane carries, for users.")
    direction: Direction | None = Field(
        None, description="Seen from the step: `publish`, `subscribe` or `bidirectional` (default)."
    )
    max_bytes: Int32 | None = Field(
        None, ge=0, description="Bytes of all messages that wait in the lane; 0 or absent: 1 MiB."
    )
    max_messages: Int32 | None = Field(None, ge=0, description="Messages that wait in the lane; 0 or absent: 100.")


class StreamLifecycle(WireModel):
    """How a running stream moves to a new version of a step."""

    drain_timeout_seconds: Int32 | None = Field(
        None,
        ge=0,
        description="Seconds in-flight messages get to finish; also the grace period of a cancelled realtime run.",
    )
    max_in_flight: Int32 | None = Field(
        None, ge=0, description="Unacknowledged messages a receiver may have; 0 or absent: no limit."
    )
    strategy: RolloutStrategy | None = Field(None, description="`rolling`, `drain_cutover` or `blue_green`.")


class StreamMetrics(WireModel):
    """Metrics per stream."""

    enabled: bool | None = Field(None, description="Whether metrics are kept; default true.")


class StreamTracing(WireModel):
    """Traces of messages."""

    enabled: bool | None = Field(None, description="Whether messages are traced; default true.")
    sample_policy: str | None = Field(None, description="`rate` (default), `random`, `always` or `never`.")
    sample_rate: Int32 | None = Field(
        None, ge=0, le=100, description="Share of messages traced, in percent; default 100."
    )


class StreamWatermark(WireModel):
    """Progress measured in event time."""

    enabled: bool | None = Field(None, description="Whether watermarks are kept; default false.")
    timestamp_source: str | None = Field(
        None, description="Path of the event time, for example `metadata.sent`; default: the message's own timestamp."
    )


class StreamObservability(WireModel):
    """Metrics, traces and watermarks of the stream."""

    metrics: StreamMetrics | None = Field(None, description="Metrics per stream.")
    tracing: StreamTracing | None = Field(None, description="Traces of messages.")
    watermark: StreamWatermark | None = Field(None, description="Progress measured in event time.")


class Partitioning(WireModel):
    """How messages are spread over partitions."""

    key: str | None = Field(
        None,
        description="Path of the value that chooses the partition, for example `metadata.user`; default: the "
        "message's partition key.",
    )
    mode: Literal["none", "preserve", "hash"] | None = Field(
        None, description="`none` (default), `preserve` (keep the sender's partition) or `hash`."
    )
    partitions: Int32 | None = Field(None, ge=1, description="Number of partitions, 1 or more.")
    sticky: bool | None = Field(None, description="Keep the partition a message already has.")


class Recording(WireModel):
    """What is kept of passing messages."""

    mode: Literal["off", "metadata", "payload"] | None = Field(
        None, description="`off` (default), `metadata` or `payload`."
    )
    redact_fields: list[str] | None = Field(None, description="Fields whose values are blanked in a recording.")
    retention_seconds: Int32 | None = Field(None, ge=0, description="Seconds a recording is kept.")
    sample_rate: Int32 | None = Field(
        None, ge=0, le=100, description="Share of messages recorded, in percent; 0 counts as 100 while recording is on."
    )


class RoutingTarget(WireModel):
    """Steps a routing rule speaks about."""

    steps: list[str] | None = Field(None, description="Step names, each at most once.")


class RoutingRule(WireModel):
    """Allows or denies downstream steps for matching messages."""

    action: Literal["allow", "deny"] | None = Field(None, description="`allow` (default) or `deny`.")
    name: str | None = Field(None, description="Name of the rule, for users.")
    target: RoutingTarget | None = Field(None, description="Steps the rule speaks about; absent: all.")
    when: str | None = Field(
        None, description="Condition template over `inputs`, `steps` and `packet`; absent: always."
    )


class Routing(WireModel):
    """Which downstream steps get a message."""

    fan_out: Literal["sequential", "parallel"] | None = Field(
        None, description="Send to several downstreams `sequential` (default) or `parallel`."
    )
    max_downstreams: Int32 | None = Field(None, ge=1, description="Downstreams of one message, 1 or more; default 32.")
    mode: Literal["auto", "hub", "p2p"] | None = Field(
        None, description="Path of messages: `hub`, `p2p` (direct) or `auto` (default)."
    )
    rules: list[RoutingRule] | None = Field(
        None,
        description="Rules on downstream steps: a matching `deny` always excludes; where `allow` rules exist, one "
        "must match.",
    )


class Streaming(WireModel):
    """How messages flow over a transport; a Story's settings are merged over the Transport's."""

    backpressure: Backpressure | None = Field(
        None, description="What happens when a receiver is slower than its sender."
    )
    delivery: Delivery | None = Field(None, description="Order, repetition and replay of messages.")
    fan_in: FanIn | None = Field(None, description="How a step with several upstreams waits for them.")
    flow_control: FlowControl | None = Field(None, description="Credits that keep senders from overrunning receivers.")
    lanes: list[Lane] | None = Field(
        None,
        description="Kinds of traffic; default: audio, video, binary and payload, bidirectional, 100 messages and 1 "
        "MiB each.",
    )
    lifecycle: StreamLifecycle | None = Field(
        None, description="How a running stream moves to a new version of a step."
    )
    observability: StreamObservability | None = Field(None, description="Metrics, traces and watermarks of the stream.")
    partitioning: Partitioning | None = Field(None, description="How messages are spread over partitions.")
    recording: Recording | None = Field(None, description="What is kept of passing messages.")
    routing: Routing | None = Field(None, description="Which downstream steps get a message.")
