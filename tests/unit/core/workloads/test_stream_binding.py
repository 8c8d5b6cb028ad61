"""The TransportBinding of a realtime step. (core/workloads/stream_binding.py)"""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from core.api import keys
from core.api.objects import Object
from core.story.streams import StreamNeighbours
from core.workloads import stream_binding
from core.workloads.stream_binding import (
    BindingTooLargeError,
    BoundTransport,
    binding_document,
    binding_manifest,
    binding_variable,
)
from core.workloads.variables import MAX_VARIABLE_BYTES
from tests.unit.core.workloads.stream_samples import ENDPOINT, KEY, STEP, TRANSPORT, binding, stream


def test_empty_parts_are_left_out() -> None:
    made = binding()
    assert "audio" not in made["spec"]
    assert "video" not in made["spec"]
    assert made["spec"]["binary"] == {"direction": "bidirectional", "mimeTypes": ["application/json", "text/plain"]}
    assert keys.ANNOTATION_UPSTREAM_STEPS not in made["metadata"]["annotations"]


def test_a_step_that_gets_packets_is_no_source() -> None:
    assert stream_binding.is_source(binding())
    assert not stream_binding.is_source(binding(upstream=("listen",)))


def test_the_document_has_the_settings_and_each_codec_once() -> None:
    codecs = [{"name": "opus", "channels": 1}, {"name": "opus", "channels": 2}, {"name": "pcm16"}]
    document = json.loads(binding_document(stream(binding=binding({"a": 1}, {"supportedAudio": codecs})), "bare"))
    info = document.pop("binding")
    assert document == {"name": "bare", "namespace": "team-a"}
    assert json.loads(base64.b64decode(info.pop("payload"))) == {"a": 1}
    assert info == {
        "transportRef": "voice",
        "driver": "hub",
        "endpoint": "bobrapet-hub.bobrapet-system.svc:9000",
        "audioCodecs": ["opus", "pcm16"],
        "binaryTypes": ["application/json", "text/plain"],
        "protocolVersion": "1.0.0",
    }


def test_settings_that_no_process_accepts_are_refused_with_the_place() -> None:
    with pytest.raises(BindingTooLargeError, match=r"Transport spec\.defaultSettings") as caught:
        binding_variable(stream({"note": "x" * MAX_VARIABLE_BYTES}), KEY)
    assert caught.value.size_bytes > MAX_VARIABLE_BYTES


def test_annotations_that_somebody_has_removed_mean_nothing() -> None:
    bare: Object = {"metadata": {}}
    assert stream_binding.admitted_generation(bare) == 0
    assert not stream_binding.is_finished(bare)
    assert not stream_binding.is_drained(bare)
    assert stream_binding.ending_of(bare) == ""


def test_only_true_counts_as_drained() -> None:
    assert stream_binding.is_drained({**binding(), "status": {"stream": {"drained": True}}})
    assert not stream_binding.is_drained({**binding(), "status": {"stream": {"drained": "true"}}})


def test_the_next_generation_forgets_how_the_last_one_ended() -> None:
    made = binding()
    made["metadata"]["annotations"] |= {keys.ANNOTATION_STREAM_FINISHED: "true"}
    assert stream_binding.is_finished(made)
    patch = stream_binding.next_generation_patch(2)
    merged = {key: value for key, value in {**made["metadata"]["annotations"], **patch}.items() if value is not None}
    again = {**made, "metadata": {**made["metadata"], "annotations": merged}}
    assert stream_binding.admitted_generation(again) == 2
    assert not stream_binding.is_finished(again)


def test_the_binding_of_a_traced_run_names_the_span_of_its_step() -> None:
    bound = BoundTransport("voice", TRANSPORT, {})
    traced = replace(STEP, step_trace_parent="00-x")
    made = binding_manifest(traced, "uid-of-run", bound, StreamNeighbours((), ()), ENDPOINT, "report-abc")
    assert made["metadata"]["annotations"][keys.ANNOTATION_TRACE_PARENT] == "00-x"
    assert keys.ANNOTATION_TRACE_PARENT not in binding()["metadata"]["annotations"]
