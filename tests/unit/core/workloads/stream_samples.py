"""One attempt of a realtime step. Tests change one field at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.api.objects import Object
from core.story.streams import StreamNeighbours
from core.workloads.stream_binding import BoundTransport, binding_manifest
from core.workloads.stream_workload import StreamMode, StreamWorkload
from tests.unit.core.workloads.workload_samples import WORKLOAD

KEY = b"k" * 32
STEP = replace(WORKLOAD, timeout=None, deadline_at=None, template_context=None, skip_input_templating=True)
TRANSPORT: Object = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json", "text/plain"]}
ENDPOINT = "bobrapet-hub.bobrapet-system.svc:9000"


def binding(settings: Object | None = None, transport: Object | None = None, **neighbours: tuple[str, ...]) -> Object:
    """As the API server stores it."""
    bound = BoundTransport("voice", {**TRANSPORT, **(transport or {})}, settings or {})
    around = StreamNeighbours(neighbours.get("upstream", ()), neighbours.get("downstream", ()))
    made = binding_manifest(STEP, "uid-of-run", bound, around, ENDPOINT, "report-abc")
    made["metadata"]["uid"] = "uid-of-binding"
    return made


def stream(settings: Object | None = None, *, step: dict[str, Any] | None = None, **fields: Any) -> StreamWorkload:
    bare = StreamWorkload(replace(STEP, **(step or {})), StreamMode.DEPLOYMENT, binding(settings), ENDPOINT, "[]")
    return replace(bare, **fields)
