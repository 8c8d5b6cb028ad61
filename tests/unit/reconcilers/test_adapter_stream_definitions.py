"""What a step of a realtime Story is bound to. (reconcilers/adapters/stream_definitions.py)"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.api.objects import Object
from core.api.phases import Reason
from core.engine.errors import MissingReferenceError, RejectedError
from core.engine.ports import JOB, STREAM
from core.policy.settings import OperatorSettings, TimeoutSettings
from core.policy.sources import Sources
from core.workloads.stream_workload import StreamMode
from reconcilers.adapters.binding import bound
from reconcilers.adapters.stream_definitions import (
    ResolvedStream,
    declared_transport,
    kind_of,
    resolved_stream,
    serves_stream,
    stream_mode,
)

STEP: Object = {"name": "listen", "ref": {"name": "ears"}}
TRANSPORT: Object = {
    "metadata": {"name": "hub"},
    "spec": {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]},
}
ENGRAM: Object = {"metadata": {"name": "ears", "namespace": "team"}, "spec": {"mode": "deployment"}}
TEMPLATE: Object = {"metadata": {"name": "ears"}, "spec": {"image": "ears:1"}}


def story(**spec: Any) -> Object:
    transports = [{"name": "voice", "transportRef": "hub"}, {"name": "text", "transportRef": "other"}]
    return {
        "metadata": {"name": "talk", "namespace": "team"},
        "spec": {"pattern": "realtime", "steps": [STEP], "transports": transports, **spec},
    }


def resolve(transport: Object = TRANSPORT, **declared: Any) -> ResolvedStream:
    entry = {"name": "voice", "transportRef": "hub", **declared}
    return resolved_stream(StreamMode.DEPLOYMENT, story(), STEP, entry, transport, {"hub": kind_of(transport)})


@pytest.mark.parametrize(
    ("spec", "serves"),
    [
        ({}, True),
        ({"pattern": "batch"}, False),
        ({"pattern": None}, False),
        ({"steps": [], "finally": [STEP]}, False),
        ({"steps": [], "compensations": [STEP]}, False),
    ],
)
def test_the_main_steps_of_a_realtime_story_serve_streams(spec: Object, serves: bool) -> None:
    assert serves_stream(story(**spec), STEP) is serves


def test_a_source_whose_engram_runs_as_a_job_is_refused_with_the_remedy() -> None:
    for spec in ({}, {"mode": "job"}):
        with pytest.raises(MissingReferenceError, match=r"spec\.mode: deployment or statefulset") as caught:
            stream_mode(STEP, {**ENGRAM, "spec": spec}, TEMPLATE)
        assert caught.value.reason is Reason.ENGRAM_REFERENCE_INVALID


def test_a_step_with_needs_whose_engram_runs_as_a_job_starts_one_for_each_packet() -> None:
    step, plain = {**STEP, "needs": ["before"]}, {**TEMPLATE, "spec": {"container": {"result": {"from": "none"}}}}
    assert stream_mode(step, {**ENGRAM, "spec": {"mode": "job"}}, TEMPLATE) is None
    assert stream_mode(step, {**ENGRAM, "spec": {}}, plain) is None


def test_time_limit_schema_and_container_of_such_a_step_are_those_of_each_job() -> None:
    step = {**STEP, "needs": ["before"], "execution": {"timeout": "5s"}}
    stream = resolved_stream(
        None, story(), step, {"name": "voice", "transportRef": "hub"}, TRANSPORT, {"hub": "people"}
    )
    template = {**TEMPLATE, "spec": {"image": "x", "inputSchema": {"required": ["x"]}, "container": {"args": []}}}
    made = bound(Sources(OperatorSettings(), template, ENGRAM, story(), step), ENGRAM, template, stream)
    assert (made.executor, made.timeout, made.input_schema, made.container) == (STREAM, None, None, None)


def test_a_container_without_an_sdk_and_a_script_are_refused() -> None:
    plain = {**TEMPLATE, "spec": {"container": {"result": {"from": "none"}}}}
    with pytest.raises(RejectedError, match="has no SDK"):
        stream_mode(STEP, ENGRAM, plain)
    with pytest.raises(RejectedError, match="a script ends"):
        stream_mode({"name": "listen", "run": {"script": "true"}}, ENGRAM, plain)


@pytest.mark.parametrize(("wanted", "found"), [({}, "voice"), ({"transport": " text "}, "text")])
def test_a_step_uses_the_transport_that_it_names_else_the_first(wanted: Object, found: str) -> None:
    assert declared_transport(story(), {**STEP, **wanted})["name"] == found


@pytest.mark.parametrize(
    ("spec", "wanted", "text"),
    [
        ({}, {"transport": "video"}, "which declares: voice, text; declare it"),
        ({"transports": []}, {"transport": "video"}, "which declares: none; declare it"),
        ({"transports": []}, {}, "add an entry with name and transportRef to spec.transports"),
    ],
)
def test_a_transport_that_is_not_declared_is_named(spec: Object, wanted: Object, text: str) -> None:
    with pytest.raises(RejectedError) as caught:
        declared_transport(story(**spec), {**STEP, **wanted})
    assert text in str(caught.value)
    assert caught.value.reason is Reason.TRANSPORT_REFERENCE_INVALID


def test_a_transport_that_cannot_be_used_is_refused_with_every_error() -> None:
    unusable = {**TRANSPORT, "spec": {"provider": "people", "driver": " ", "streaming": {"fanIn": {"mode": "quorum"}}}}
    with pytest.raises(RejectedError) as caught:
        resolve(unusable)
    for part in ("Transport hub cannot be used", "spec.driver", "supports no kind of data", "fanIn.quorum"):
        assert part in str(caught.value)


def test_settings_that_contradict_each_other_only_together_are_refused() -> None:
    quorum = {**TRANSPORT, "spec": {**TRANSPORT["spec"], "streaming": {"fanIn": {"mode": "quorum", "quorum": 2}}}}
    with pytest.raises(RejectedError, match=r"merged over those of Transport hub, cannot be used: fanIn\.quorum"):
        resolve(quorum, streaming={"fanIn": {"mode": "all"}})


def test_replay_that_does_not_exist_is_refused_before_anything_is_created() -> None:
    durable = {"delivery": {"replay": {"mode": "durable"}}}
    with pytest.raises(RejectedError, match=r"cannot be used: delivery\.replay\.mode: durable is not .*use memory"):
        resolve(TRANSPORT, streaming=durable)
    with pytest.raises(RejectedError, match=r"Transport hub cannot be used: .*use memory"):
        resolve({**TRANSPORT, "spec": {**TRANSPORT["spec"], "streaming": durable}})


def test_a_stream_flows_without_a_limit_unless_a_definition_sets_one() -> None:
    settings = OperatorSettings(timeouts=TimeoutSettings(default_step=timedelta(minutes=5)))
    limited = {**STEP, "execution": {"timeout": "2h"}}
    found = {}
    for name, step, stream in (("open", STEP, resolve()), ("limited", limited, resolve()), ("batch", STEP, None)):
        found[name] = bound(Sources(settings, TEMPLATE, ENGRAM, story(), step), ENGRAM, TEMPLATE, stream)
    assert [each.executor for each in found.values()] == [STREAM, STREAM, JOB]
    assert found["open"].timeout is None
    assert (found["limited"].timeout, found["batch"].timeout) == (timedelta(hours=2), timedelta(minutes=5))
    assert found["open"].definition == ""  # no execution of it is equal to another


def test_the_kind_of_a_transport_is_its_provider_else_its_driver() -> None:
    assert kind_of(TRANSPORT) == "people"
    assert kind_of({"spec": {"provider": " ", "driver": "hub"}}) == "hub"
