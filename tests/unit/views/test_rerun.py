"""What a redrive runs again, what it keeps, and from which step."""

from __future__ import annotations

from typing import Any

import pytest

from cli.verbs.resubmit import like, reusing, why_nothing_is_reused
from core.api import keys
from core.api.objects import Object
from views.errors import NoFailedStepError, SeveralFailedStepsError, ViewError
from views.rerun import check_step, failed_step, plan_of, rerun_of

FAIL_FAST = "Skipped: step 'fetch' failed and the Story does not continue on failure"


def step(name: str, *needs: str, **more: Any) -> Object:
    return {"name": name, "ref": {"name": "worker"}, "needs": list(needs), **more}


def a_story(*steps: Object, **more: Any) -> Object:
    return {"metadata": {"name": "report", "namespace": "team"}, "spec": {"steps": list(steps), **more}}


def a_run(**phases: str | Object) -> Object:
    states = {
        name.replace("_", "-"): {"phase": phase} if isinstance(phase, str) else phase for name, phase in phases.items()
    }
    return {
        "metadata": {"name": "report-1", "namespace": "team"},
        "spec": {"storyRef": {"name": "report"}},
        "status": {"stepStates": states},
    }


CHAIN = a_story(step("fetch"), step("count", "fetch"), step("send", "count"), step("other"))


def test_from_a_step_on_it_and_what_follows_run_again() -> None:
    run = a_run(fetch="Succeeded", count="Failed", send="Skipped", other="Succeeded")

    rerun = rerun_of(plan_of(CHAIN), run, "count")

    assert rerun.again == (("count", "requested"), ("send", "depends on count"))
    assert (rerun.kept, rerun.fresh) == (("fetch", "other"), ())


def test_what_a_template_reads_counts_as_a_need() -> None:
    reads = step("send", **{"with": {"text": "{{ steps.count.output.n }}"}})

    rerun = rerun_of(plan_of(a_story(step("count"), reads)), a_run(count="Succeeded", send="Failed"), "count")

    assert [name for name, _ in rerun.again] == ["count", "send"]


def test_without_a_step_everything_that_has_run_runs_again() -> None:
    rerun = rerun_of(plan_of(CHAIN), a_run(fetch="Failed"))

    assert rerun.again == (("fetch", ""),)
    assert rerun.fresh == ("count", "send", "other")


def test_what_a_failure_had_skipped_runs_again_and_what_a_condition_had_does_not() -> None:
    run = a_run(
        fetch="Failed",
        count={"phase": "Skipped", "message": FAIL_FAST},
        send={"phase": "Skipped", "message": FAIL_FAST},
        other={"phase": "Skipped", "message": "Skipped: its 'if' condition is false"},
    )
    independent = a_story(step("fetch"), step("count"), step("send", "count"), step("other"))

    rerun = rerun_of(plan_of(independent), run, "fetch")

    assert dict(rerun.again)["count"] == dict(rerun.again)["send"] == "did not run after the failure"
    assert rerun.kept == ("other",)


def test_what_waits_and_is_of_another_type_by_now_runs_again() -> None:
    timers = '{"nap": {"sleepUntil": "2026-01-02T03:04:05Z"}, "hold": {"gateTimeoutAt": "2026-01-02T03:04:05Z"}}'
    run = a_run(fetch="Failed", nap="Paused", hold="Paused")
    run["metadata"]["annotations"] = {"runs.bubustack.io/step-timers": timers}
    nap = {"name": "nap", "type": "wait", "with": {"until": "{{ inputs.go }}"}}

    rerun = rerun_of(plan_of(a_story(step("fetch"), nap, {"name": "hold", "type": "gate"})), run, "fetch")

    assert rerun.again == (("fetch", "requested"), ("nap", "is of another type now"))
    assert rerun.kept == ("hold",)


def test_the_clean_up_runs_again() -> None:
    story = a_story(step("a"), compensations=[step("undo")], **{"finally": [step("tidy"), step("report")]})
    run = a_run(a="Failed", undo="Succeeded", tidy="Succeeded")

    rerun = rerun_of(plan_of(story), run, "a")

    assert rerun.again == (
        ("a", "requested"),
        ("undo", "cleanup step, runs again"),
        ("tidy", "cleanup step, runs again"),
    )
    assert rerun.fresh == ("report",)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        pytest.param({"fetch": "Succeeded", "count": "Failed"}, "count", id="the only one"),
        pytest.param(
            {"fetch": "Failed", "count": "Failed", "send": "Timeout"}, "fetch", id="the others follow from it"
        ),
    ],
)
def test_the_failed_step_is_the_one_the_others_follow_from(phases: dict[str, str], expected: str) -> None:
    assert failed_step(plan_of(CHAIN), a_run(**phases)) == expected


def test_of_failures_in_several_lists_the_main_one_counts() -> None:
    story = a_story(step("a"), **{"finally": [step("tidy")]})

    assert failed_step(plan_of(story), a_run(a="Failed", tidy="Failed")) == "a"
    assert failed_step(plan_of(story), a_run(a="Succeeded", tidy="Failed")) == "tidy"


def test_failures_that_do_not_follow_from_each_other_need_a_choice() -> None:
    with pytest.raises(SeveralFailedStepsError, match=r"2 steps failed independently: count, other") as refusal:
        failed_step(plan_of(CHAIN), a_run(fetch="Succeeded", count="Failed", other="Failed"))

    assert refusal.value.steps == ("count", "other")


def test_without_a_failure_there_is_nothing_to_begin_with() -> None:
    allowed = a_story(step("a", allowFailure=True))

    with pytest.raises(NoFailedStepError, match="no step of report-1 has failed"):
        failed_step(plan_of(allowed), a_run(a="Failed"))


def test_a_step_to_begin_with_is_one_of_the_story() -> None:
    fan = {"name": "fan", "type": "parallel", "with": {"steps": [step("a")]}}
    plan = plan_of(a_story(step("fetch"), fan))

    check_step(plan, "fetch")
    check_step(plan, "fan/a")
    with pytest.raises(ViewError, match="has no step 'fech'") as unknown:
        check_step(plan, "fech")

    assert unknown.value.remedy == "did you mean 'fetch'?"


def test_a_branch_runs_again_without_its_siblings() -> None:
    fan = {"name": "fan", "type": "parallel", "with": {"steps": [step("a"), step("b")]}}
    plan = plan_of(a_story(fan, step("send", "fan")))
    states = {"fan": "Failed", "fan/a": "Failed", "fan/b": "Succeeded", "send": "Skipped"}
    run = a_run(**states)

    assert failed_step(plan, run) == "fan/a"
    rerun = rerun_of(plan, run, "fan/a")
    assert rerun.again == (("fan/a", "requested"), ("send", "depends on fan/a"))
    assert rerun.kept == ("fan/b",)
    assert failed_step(plan, a_run(**{**states, "fan/b": "Failed"})) == "fan"


def test_a_story_that_cannot_run_is_no_way_to_run_again() -> None:
    with pytest.raises(ViewError, match=r"Story 'report' cannot run: dependency cycle"):
        plan_of(a_story(step("a", "b"), step("b", "a")))


def test_another_run_like_it_has_its_inputs() -> None:
    run = a_run()
    run["spec"] |= {
        "storyRef": {"name": "report", "namespace": "shared", "version": "2", "uid": "gone"},
        "impulseRef": {"name": "hook"},
        "inputs": {"city": "Bern", "mail": {"to": "a", "cc": "b"}, "rows": [1, 2]},
    }

    manifest = like(run)

    assert manifest["metadata"] == {"namespace": "team", "generateName": "report-"}
    assert manifest["spec"] == {
        "storyRef": {"name": "report", "namespace": "shared", "version": "2"},
        "inputs": {"city": "Bern", "mail": {"to": "a", "cc": "b"}, "rows": [1, 2]},
    }


def test_a_run_that_reuses_outputs_names_the_earlier_one() -> None:
    manifest = reusing(like(a_run()), a_run())

    assert manifest["metadata"]["annotations"] == {keys.ANNOTATION_CACHE_REUSE: "report-1"}


def test_that_nothing_is_left_to_reuse_is_said() -> None:
    run = a_run()
    assert why_nothing_is_reused(run) == ""
    run["status"]["childrenCleanedAt"] = "2026-01-02T03:04:05Z"
    assert why_nothing_is_reused(run) == (
        "nothing can be reused: the StepRuns of report-1 were deleted at 2026-01-02T03:04:05Z"
    )
