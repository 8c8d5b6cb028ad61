"""TransportBinding: the connection of one realtime step to a Transport. Source: Streaming contract 5."""

from __future__ import annotations

from pydantic import Field

from core.api.kind import AGE, Column, Kind, KindModel, KindVersion
from core.api.meta import Conditions, RunReference
from core.api.resource import TRANSPORT_BINDING
from core.api.schema import Instant, Int64, JsonObject, WireModel
from core.api.streaming import Direction
from core.api.transport import AudioCodec, VideoCodec


class AudioBinding(WireModel):
    """An audio lane."""

    direction: Direction = Field(description="Seen from the step.")
    codecs: list[AudioCodec] | None = Field(None, description="Codecs offered, best first.")


class BinaryBinding(WireModel):
    """A binary lane."""

    direction: Direction = Field(description="Seen from the step.")
    mime_types: list[str] | None = Field(None, description="MIME types offered, best first.")


class VideoBinding(WireModel):
    """A video lane."""

    direction: Direction = Field(description="Seen from the step.")
    codecs: list[VideoCodec] | None = Field(None, description="Codecs offered, best first.")
    raw: bool | None = Field(None, description="Whether frames travel unencoded.")


class TransportBindingSpec(WireModel):
    """What is connected; at least one of `audio`, `video`, `binary` must be given."""

    driver: str = Field(min_length=1, description="Driver of the Transport; immutable.")
    engram_name: str = Field(min_length=1, description="Name of the workload that is connected.")
    step_name: str = Field(min_length=1, description="Name of the step in the Story.")
    transport_ref: str = Field(min_length=1, description="Name of the Transport; immutable.")
    audio: AudioBinding | None = Field(None, description="Audio lane.")
    binary: BinaryBinding | None = Field(None, description="Binary lane.")
    connector_endpoint: str | None = Field(None, description="Address of the step's connector as `host:port`.")
    input_schema: JsonObject | None = Field(
        None, description="JSON Schema of the inputs that each message gets, as the run pins it."
    )
    output_schema: JsonObject | None = Field(
        None, description="JSON Schema of the messages that the step sends, as the run pins it."
    )
    raw_settings: JsonObject | None = Field(None, description="Merged provider and stream settings.")
    story_run_ref: RunReference | None = Field(None, description="The StoryRun this belongs to.")
    video: VideoBinding | None = Field(None, description="Video lane.")


class StreamConsole(WireModel):
    """Where the hub answers commands about the packets of the step, while somebody asks for it."""

    address: str | None = Field(
        None, description="`NAMESPACE/SERVICE:PORT` of a Service, or the `host:port` of a loopback interface."
    )
    until: Instant | None = Field(None, description="Until when it is open, unless it is asked for again.")


class StreamRefusal(WireModel):
    """A client that the hub has turned away."""

    reason: str | None = Field(None, description="A word for programs, as in `bobrapet_hub_refusals_total`.")
    message: str | None = Field(None, description="The message that the client got.")
    at: Instant | None = Field(None, description="When.")


class StreamTraffic(WireModel):
    """What the hub says of the step's stream: on every edge, else every ten seconds while something changes,
    and every second while a command watches (annotation ``watched-until``).
    """

    connected: bool | None = Field(None, description="Whether a client, or the hub itself, serves the step now.")
    generation: Int64 | None = Field(None, description="Generation of the client that served the step last.")
    received: Int64 | None = Field(None, description="Messages from the step that the hub has accepted.")
    delivered: Int64 | None = Field(None, description="Messages to the step that it has acknowledged.")
    received_per_minute: Int64 | None = Field(None, description="How fast `received` has grown in the last seconds.")
    delivered_per_minute: Int64 | None = Field(None, description="How fast `delivered` has grown in the last seconds.")
    waiting: Int64 | None = Field(None, description="Messages to the step that are still in the hub.")
    waiting_pct: Int64 | None = Field(None, description="How full the buffer of the step is, in percent.")
    lost: Int64 | None = Field(None, description="Messages from and to the step that were lost.")
    paused_by: list[str] | None = Field(None, description="Steps whose full buffers block the messages of the step.")
    drained: bool | None = Field(
        None,
        description="Whether the steps that the step needs have finished, and it has processed all their messages.",
    )
    connected_at: Instant | None = Field(None, description="When a client last connected.")
    disconnected_at: Instant | None = Field(
        None, description="When the last client disconnected; absent while one is connected."
    )
    process: str | None = Field(
        None, description="What the client that served the step last says of its process; absent if it says nothing."
    )
    returning: Instant | None = Field(
        None,
        description="Since when a source that was connected before asks to connect again; it may as soon as the "
        "annotation `transport.bubustack.io/may-return` has this value.",
    )
    trouble: str | None = Field(None, description="Why the last message was refused.")
    last_refusal: StreamRefusal | None = Field(
        None, description="The last client that was refused, and whose binding this is, or was claimed to be."
    )
    observed_at: Instant | None = Field(None, description="When this was counted.")
    console: StreamConsole | None = Field(None, description="The console of the step; absent until a user asks for it.")


class TransportBindingStatus(WireModel):
    """What was agreed on."""

    conditions: Conditions | None = Field(None, description="`Ready` shows whether the step is connected.")
    downstream_host: str | None = Field(None, description="Own address of a step that sends directly to its peer.")
    endpoint: str | None = Field(None, description="Address of the hub.")
    negotiated_audio: AudioCodec | None = Field(None, description="Audio codec in use.")
    negotiated_binary: str | None = Field(None, description="MIME type in use.")
    negotiated_video: VideoCodec | None = Field(None, description="Video codec in use.")
    observed_generation: Int64 | None = Field(None, description="Generation this status was computed from.")
    stream: StreamTraffic | None = Field(None, description="Connection and traffic of the step.")
    upstream_host: str | None = Field(None, description="Address of the peer this step sends to directly.")


class TransportBinding(KindModel):
    """The connection of one realtime step to a Transport."""

    spec: TransportBindingSpec = Field(description="What is connected.")
    status: TransportBindingStatus | None = Field(None, description="What was agreed on.")


TRANSPORT_BINDING_KIND = Kind(
    TRANSPORT_BINDING,
    short_names=("tb", "tbind"),
    categories=("bubu", "transport"),
    versions=(
        KindVersion(
            "v1alpha1",
            TransportBinding,
            columns=(
                Column("Transport", ".spec.transportRef"),
                Column("Step", ".spec.stepName"),
                Column("Driver", ".spec.driver"),
                Column("Endpoint", ".status.endpoint"),
                AGE,
            ),
            selectable_fields=(
                ".spec.transportRef",
                ".spec.storyRunRef.name",
            ),
        ),
    ),
)
