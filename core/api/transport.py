"""Transport: a way to carry streams, and its capabilities. Source: Streaming contract 2."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.api.kind import AGE, Column, Kind, KindModel, KindVersion
from core.api.meta import Conditions, ValidationStatus
from core.api.resource import TRANSPORT
from core.api.schema import Instant, Int32, Int64, JsonObject, WireModel
from core.api.streaming import Streaming


class AudioCodec(WireModel):
    """An audio codec."""

    name: Literal["pcm16", "pcm24", "opus", "g711-mu", "g711-a", "g722", "aac", "mp3", "flac", "raw"] = Field(
        description="Codec."
    )
    channels: Int32 | None = Field(None, description="Number of channels; 0 or absent: any.")
    sample_rate_hz: Int32 | None = Field(None, description="Sample rate in Hz; 0 or absent: any.")


class VideoCodec(WireModel):
    """A video codec."""

    name: Literal["h264", "vp8", "vp9", "av1", "raw-yuv420", "raw-rgb", "raw-bgr"] = Field(description="Codec.")
    profile: str | None = Field(None, description="Codec profile; absent: any.")


class TransportSpec(WireModel):
    """A driver and its abilities; at least one of the three lists must have an entry."""

    driver: str = Field(min_length=1, description="Driver that implements the transport.")
    provider: str = Field(min_length=1, description="Provider, for users.")
    config_schema: JsonObject | None = Field(None, description="JSON Schema of the settings, for users and tools.")
    connector_image: str | None = Field(None, description="Recommended image of the connector sidecar.")
    default_settings: JsonObject | None = Field(None, description="Provider settings every Story starts from.")
    streaming: Streaming | None = Field(None, description="Stream settings every Story starts from.")
    supported_audio: list[AudioCodec] | None = Field(None, description="Audio codecs it carries.")
    supported_binary: list[str] | None = Field(
        None, description="MIME types it carries, for example `application/json`."
    )
    supported_video: list[VideoCodec] | None = Field(None, description="Video codecs it carries.")


class TransportStatus(WireModel):
    """What the operator found out about a Transport."""

    available_audio: list[AudioCodec] | None = Field(
        None, description="Audio codecs in use by bindings; without bindings, the supported ones."
    )
    available_binary: list[str] | None = Field(
        None, description="MIME types in use by bindings; without bindings, the supported ones."
    )
    available_video: list[VideoCodec] | None = Field(
        None, description="Video codecs in use by bindings; without bindings, the supported ones."
    )
    conditions: Conditions | None = Field(None, description="`Ready` shows whether Stories can use the transport.")
    last_heartbeat_time: Instant | None = Field(None, description="When a binding last reported.")
    observed_generation: Int64 | None = Field(None, description="Generation this status was computed from.")
    pending_bindings: Int32 | None = Field(None, description="Bindings that are not ready yet.")
    usage_count: Int32 | None = Field(None, description="Stories that refer to this Transport.")
    validation_errors: list[str] | None = Field(None, description="What keeps the transport from being used.")
    validation_status: ValidationStatus | None = Field(None, description="Result of the last check.")


class Transport(KindModel):
    """A way to carry streams between realtime steps, and what it can carry."""

    spec: TransportSpec = Field(description="The driver and its abilities.")
    status: TransportStatus | None = Field(None, description="What the operator found out about it.")


TRANSPORT_KIND = Kind(
    TRANSPORT,
    short_names=("transport",),
    categories=("bubu", "ai"),
    versions=(
        KindVersion(
            "v1alpha1",
            Transport,
            columns=(
                Column("Provider", ".spec.provider"),
                Column("Driver", ".spec.driver"),
                Column("Status", ".status.validationStatus"),
                Column("Usage", ".status.usageCount", "integer"),
                AGE,
            ),
        ),
    ),
)
