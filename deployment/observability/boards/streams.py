"""Streams: the packets of realtime Stories, and where they wait."""

from __future__ import annotations

from typing import Final

from deployment.observability.board import HERE, OF_JOB, RATE, Dashboard, Query, Row, Unit, graph, stat
from deployment.observability.query import quantiles, rates, sums
from deployment.observability.rule import HUB_JOB, growth

_STEP: Final = ("namespace", "story", "step")


def _limit(series: str) -> Query:
    query = sums(_of(series), *_STEP)
    return Query(query.expression, f"limit: {query.legend}")


def _of(series: str) -> str:
    return f"{series}{{{HERE}}}"


BOARD: Final = Dashboard(
    "streams",
    "bobrapet / Streams",
    "The packets of realtime Stories on their way through the hub.",
    (
        Row(
            "Now",
            (
                stat(
                    "Connected steps",
                    Unit.COUNT,
                    "Containers that serve a step.",
                    Query(f"sum({_of('bobravoz_hub_active_streams')})"),
                ),
                stat(
                    "Packets a second",
                    Unit.PER_SECOND,
                    "From steps.",
                    Query(f"sum(rate({_of('bobravoz_grpc_messages_received_total')}[{RATE}]))"),
                ),
                stat(
                    "Waiting packets",
                    Unit.COUNT,
                    "For all steps.",
                    Query(f"sum({_of('bobravoz_hub_buffer_current_size')})"),
                ),
                stat(
                    "Bytes kept",
                    Unit.BYTES,
                    "Waiting, in flight and recently acknowledged.",
                    Query(f"sum({_of('bobravoz_hub_buffer_current_bytes')})"),
                ),
                stat(
                    "Steps held back",
                    Unit.COUNT,
                    "Producers that wait for a full receiver. For minutes: runbook BobrapetStreamBlocked.",
                    Query(f"sum({_of('bobrapet_hub_held_steps')})"),
                ),
                stat(
                    "Lost in the last hour",
                    Unit.COUNT,
                    "Packets that were given up or dropped. Runbook BobrapetPacketsLost.",
                    Query(growth(_of("bobravoz_hub_messages_dropped_total"), "1h")),
                    bad_from=1,
                ),
            ),
        ),
        Row(
            "Packets",
            (
                graph(
                    "Packets from steps a second",
                    Unit.PER_SECOND,
                    "Without heartbeats.",
                    rates(_of("bobravoz_grpc_messages_received_total"), *_STEP),
                ),
                graph(
                    "Packets acknowledged by steps a second",
                    Unit.PER_SECOND,
                    "A receiver far below its producer is the slow one.",
                    rates(_of("bobrapet_hub_messages_delivered_total"), *_STEP),
                ),
                graph(
                    "Packets sent to steps a second",
                    Unit.PER_SECOND,
                    "Repetitions included: more than the acknowledged ones means that they are sent again.",
                    rates(_of("bobravoz_grpc_messages_sent_total"), *_STEP),
                ),
                graph(
                    "Packets that were lost or not meant for a step, a minute",
                    Unit.PER_MINUTE,
                    "lost: given up or dropped. The others went by a condition or a rule, and are not lost.",
                    Query(
                        f"sum by (step, reason) (rate({_of('bobravoz_hub_messages_dropped_total')}[{RATE}])) * 60",
                        "lost: {{step}} {{reason}}",
                    ),
                    Query(
                        f"sum by (step, reason) (rate({_of('bobrapet_hub_messages_skipped_total')}[{RATE}])) * 60",
                        "{{step}} {{reason}}",
                    ),
                ),
            ),
        ),
        Row(
            "Pressure",
            (
                graph(
                    "Packets that wait for a step",
                    Unit.COUNT,
                    "A full buffer holds its producers back; nothing is dropped to be fast.",
                    sums(_of("bobravoz_hub_buffer_current_size"), *_STEP),
                    _limit("bobravoz_hub_buffer_max_messages_config"),
                ),
                graph(
                    "Packets in flight to a step",
                    Unit.COUNT,
                    "Sent and not acknowledged. Flat at the limit: the step is slow.",
                    sums(_of("bobravoz_hub_replay_unacked_current"), *_STEP),
                ),
                graph(
                    "Bytes kept for a step",
                    Unit.BYTES,
                    "Waiting, in flight, and what a reconnect gets again. limit: what may wait.",
                    sums(_of("bobravoz_hub_buffer_current_bytes"), *_STEP),
                    _limit("bobravoz_hub_buffer_max_bytes_config"),
                ),
                graph(
                    "Producers that wait for a full receiver",
                    Unit.COUNT,
                    "Look at the step behind them.",
                    sums(_of("bobrapet_hub_held_steps"), *_STEP),
                ),
            ),
        ),
        Row(
            "Transports, as the operator counts them",
            (
                graph(
                    "Bindings of a Transport, and those that are served",
                    Unit.COUNT,
                    "One for each step of a realtime run. 0 for all: the hub may be dead, see the next panel.",
                    Query("max by (transport) (bobrapet_transport_bindings_total)", "all: {{transport}}"),
                    Query("max by (transport) (bobrapet_transport_bindings_ready)", "served: {{transport}}"),
                ),
                graph(
                    "Bindings of a Transport that are not served",
                    Unit.COUNT,
                    "failed: the condition BindingsReady of the Transport says why, for example HubSilent.",
                    Query("max by (transport) (bobrapet_transport_bindings_failed)", "failed: {{transport}}"),
                    Query("max by (transport) (bobrapet_transport_bindings_pending)", "pending: {{transport}}"),
                ),
            ),
        ),
        Row(
            "Connections and process",
            (
                graph(
                    "Connected containers",
                    Unit.COUNT,
                    "0 for a step whose packets wait: its container is away.",
                    sums(_of("bobravoz_hub_active_streams"), *_STEP),
                ),
                graph(
                    "Heartbeats a minute",
                    Unit.PER_MINUTE,
                    "A connected step that stops sending them is about to be cut. sent: by the hub to each client.",
                    rates(_of("bobravoz_hub_heartbeats_received_total"), *_STEP, times=60),
                    Query(f"60 / max(bobravoz_hub_heartbeat_interval_seconds{{{OF_JOB}}})", "sent"),
                ),
                graph(
                    "Silent clients that were cut, a minute",
                    Unit.PER_MINUTE,
                    "No heartbeat on Control, or no answer to a ping: the container is stuck, or its machine is gone.",
                    rates(_of("bobravoz_hub_heartbeat_failures_total"), *_STEP, times=60),
                ),
                graph(
                    "Calls that have ended, a minute, by code",
                    Unit.PER_MINUTE,
                    "OK: the client has finished. A session is one Data and one Control call.",
                    rates(f"bobravoz_grpc_requests_total{{{OF_JOB}}}", "method", "code", times=60),
                ),
                graph(
                    "Time that calls were open",
                    Unit.SECONDS,
                    "Of those that have ended. Short ones, again and again: containers that start and die.",
                    *quantiles(f"bobravoz_grpc_request_duration_seconds_bucket{{{OF_JOB}}}", "method", shares=(0.5,)),
                ),
                graph(
                    "Refused clients and connections a minute, by reason",
                    Unit.PER_MINUTE,
                    "Of all namespaces. The log of the hub has addresses; a binding shows the last one of its step.",
                    rates(f"bobrapet_hub_refusals_total{{{OF_JOB}}}", "reason", times=60),
                ),
                graph(
                    "CPU of the hub",
                    Unit.SHARE,
                    "One thread; near 100 % all streams slow down.",
                    Query(f"rate(process_cpu_seconds_total{{{OF_JOB}}}[{RATE}])", "{{instance}}"),
                    bad_from=0.9,
                ),
                graph(
                    "Memory of the hub",
                    Unit.BYTES,
                    "The limit that is shipped is 1 GiB.",
                    Query(f"process_resident_memory_bytes{{{OF_JOB}}}", "{{instance}}"),
                ),
            ),
        ),
    ),
    has_namespaces=True,
    job=HUB_JOB,
)
