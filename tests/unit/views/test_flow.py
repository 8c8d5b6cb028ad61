"""The streams of a realtime run, as the hub reports them. (views/flow.py, views/run_view.py)"""

from __future__ import annotations

from typing import Any

from core.api.objects import Object
from tests.unit.views import stream_samples as samples
from views.flow import bindings_by_step, flow_of, streams_document
from views.run_view import RunView, view_run


def view(*bindings: Object, step_runs: list[Object] | None = None, **given: Any) -> RunView:
    found = step_runs if step_runs is not None else [samples.step_run(step) for step in samples.NEEDS]
    return view_run(samples.run(**given), samples.story(), found, (), bindings)


def test_in_and_out_are_seen_from_the_step() -> None:
    flow = flow_of(samples.binding("days", received=3, delivered=200, receivedPerMinute=6, deliveredPerMinute=600))

    assert (flow.delivered, flow.received, flow.has_sources, flow.has_targets) == (200, 3, True, True)
    assert (flow.delivered_per_minute, flow.received_per_minute) == (600, 6)
    source, sink = flow_of(samples.binding("replay")), flow_of(samples.binding("page"))
    assert (source.has_sources, source.has_targets, sink.has_sources, sink.has_targets) == (False, True, True, False)


def test_damaged_numbers_and_texts_of_others_do_no_harm() -> None:
    flow = flow_of(samples.binding("days", received="many", pausedBy="page", trouble="a\x1b[2Jb"))

    assert (flow.received, flow.paused_by, flow.trouble) == (0, (), "a [2Jb")


def test_a_binding_without_a_status_is_one_that_the_hub_has_not_seen() -> None:
    assert not flow_of(samples.binding("days", reported=False)).is_reported


def test_bindings_of_an_earlier_run_of_that_name_are_left_out() -> None:
    other = samples.binding("days")
    other["spec"]["storyRunRef"]["uid"] = "another"

    assert list(bindings_by_step([other, samples.binding("page")], samples.RUN_UID)) == ["page"]


def test_programs_get_what_the_hub_has_written() -> None:
    bindings = {step: samples.binding(step, reported=step == "page") for step in ("page", "days")}

    assert streams_document(bindings) == {"days": None, "page": bindings["page"]["status"]["stream"]}


def test_a_realtime_run_counts_those_that_are_connected() -> None:
    seen = view(*(samples.binding(step, connected=step != "page") for step in samples.NEEDS))

    assert seen.progress() == "2/3 connected"
    assert seen.waiting_on() == "page", "the others wait for messages, and for nobody"


def test_without_bindings_the_phase_says_who_is_connected() -> None:
    paused = [samples.step_run("replay"), samples.step_run("days"), samples.step_run("page", phase="Paused")]
    states = {"page": {"phase": "Paused"}, "days": {"phase": "Running"}, "replay": {"phase": "Running"}}

    assert view(step_runs=paused, states=states).progress() == "2/3 connected"


def test_streams_that_have_ended_do_not_count_as_missing() -> None:
    states = {"replay": {"phase": "Succeeded"}, "days": {"phase": "Running"}, "page": {"phase": "Running"}}
    bindings = [samples.binding("replay", connected=False), samples.binding("days"), samples.binding("page")]

    assert view(*bindings, states=states).progress() == "2/2 connected"


def test_a_run_that_has_ended_counts_steps_again() -> None:
    assert view(samples.binding("page"), phase="Succeeded", states={"page": {"phase": "Succeeded"}}).progress() == "1/3"


def test_a_batch_run_is_counted_as_ever() -> None:
    story = {"metadata": {"name": "s"}, "spec": {"steps": [{"name": "one", "ref": {"name": "x"}}]}}
    seen = view_run(samples.run(states={"one": {"phase": "Running"}}), story)

    assert (seen.progress(), seen.waiting_on(), seen.streams) == ("0/1", "one", [])
