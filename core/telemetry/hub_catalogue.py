"""All metrics of the hub. Data only.

Names are those of the contract where it has one. Labels are Story and step instead of run and step, so that their
number does not grow with every run. Those of a step stay until ``hub.metrics`` drops them after its last run.
Source: streaming contract 17.
"""

from __future__ import annotations

from typing import Final

from core.telemetry.catalogue import (
    EVALUATION_WAIT,
    EVALUATION_WORKERS_ENDED,
    EVALUATION_WORKERS_STARTED,
    TRACE_SPANS,
    Series,
    SeriesKind,
)

_LABELS: Final = ("namespace", "story", "step")

ACTIVE_STREAMS: Final = Series(
    "bobravoz_hub_active_streams", SeriesKind.GAUGE, "Clients that serve a step.", _LABELS, stays=True
)
BUFFER_SIZE: Final = Series(
    "bobravoz_hub_buffer_current_size", SeriesKind.GAUGE, "Packets that wait for a step.", _LABELS, stays=True
)
BUFFER_BYTES: Final = Series(
    "bobravoz_hub_buffer_current_bytes",
    SeriesKind.GAUGE,
    "Bytes kept for a step: waiting, in flight and recently acknowledged.",
    _LABELS,
    stays=True,
)
BUFFER_SIZE_LIMIT: Final = Series(
    "bobravoz_hub_buffer_max_messages_config",
    SeriesKind.GAUGE,
    "Packets that may wait for a step: the sum of the setting over its runs.",
    _LABELS,
    stays=True,
)
BUFFER_BYTES_LIMIT: Final = Series(
    "bobravoz_hub_buffer_max_bytes_config",
    SeriesKind.GAUGE,
    "Bytes that may wait for a step: the sum of the setting over its runs.",
    _LABELS,
    stays=True,
)
UNACKNOWLEDGED: Final = Series(
    "bobravoz_hub_replay_unacked_current", SeriesKind.GAUGE, "Packets in flight to a step.", _LABELS, stays=True
)
HELD: Final = Series(
    "bobrapet_hub_held_steps", SeriesKind.GAUGE, "Producers that wait for a full receiver.", _LABELS, stays=True
)
RECEIVED: Final = Series(
    "bobravoz_grpc_messages_received_total",
    SeriesKind.COUNTER,
    "Packets from a step, without heartbeats.",
    _LABELS,
    stays=True,
)
SENT: Final = Series(
    "bobravoz_grpc_messages_sent_total",
    SeriesKind.COUNTER,
    "Packets sent to a step, repetitions included.",
    _LABELS,
    stays=True,
)
DELIVERED: Final = Series(
    "bobrapet_hub_messages_delivered_total",
    SeriesKind.COUNTER,
    "Packets that a step has acknowledged; if packets have no numbers: packets that were written to it.",
    _LABELS,
    stays=True,
)
DROPPED: Final = Series(
    "bobravoz_hub_messages_dropped_total",
    SeriesKind.COUNTER,
    "Packets to a step that were given up, and packets of a step that were dropped, by reason.",
    (*_LABELS, "reason"),
    stays=True,
)
SKIPPED: Final = Series(
    "bobrapet_hub_messages_skipped_total",
    SeriesKind.COUNTER,
    "Packets that were not meant for a step, by reason. They are not lost.",
    (*_LABELS, "reason"),
    stays=True,
)
HEARTBEATS: Final = Series(
    "bobravoz_hub_heartbeats_received_total", SeriesKind.COUNTER, "Heartbeats from a step.", _LABELS, stays=True
)
HEARTBEAT_FAILURES: Final = Series(
    "bobravoz_hub_heartbeat_failures_total",
    SeriesKind.COUNTER,
    "Sessions of a step that were ended because the client gave no sign of life.",
    _LABELS,
    stays=True,
)
HEARTBEAT_INTERVAL: Final = Series(
    "bobravoz_hub_heartbeat_interval_seconds",
    SeriesKind.GAUGE,
    "Between two heartbeats that the hub sends to a client.",
)
CALLS: Final = Series(
    "bobravoz_grpc_requests_total", SeriesKind.COUNTER, "Calls that have ended, by code of gRPC.", ("method", "code")
)
CALL_DURATION: Final = Series(
    "bobravoz_grpc_request_duration_seconds",
    SeriesKind.HISTOGRAM,
    "How long calls that have ended were open.",
    ("method",),
    (0.1, 1, 10, 60, 300, 3_600, 21_600, 86_400),
)
REFUSALS: Final = Series(
    "bobrapet_hub_refusals_total",
    SeriesKind.COUNTER,
    "Clients, calls and connections that were refused, by reason.",
    ("reason",),
)

HUB_CATALOGUE: Final[tuple[Series, ...]] = (
    *(ACTIVE_STREAMS, BUFFER_SIZE, BUFFER_BYTES, BUFFER_SIZE_LIMIT, BUFFER_BYTES_LIMIT, UNACKNOWLEDGED, HELD),
    *(RECEIVED, SENT, DELIVERED, DROPPED, SKIPPED, HEARTBEATS, HEARTBEAT_FAILURES, HEARTBEAT_INTERVAL),
    *(REFUSALS, CALLS, CALL_DURATION),
    *(EVALUATION_WAIT, EVALUATION_WORKERS_STARTED, EVALUATION_WORKERS_ENDED, TRACE_SPANS),
)
