"""Finding, starting and following runs, on an API server in this process."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import trio

from cli.display import exit_code_of, show_until_done
from cli.exit_code import ExitCode
from cli.options import (
    ALWAYS,
    CLUSTER,
    DATA,
    OPTION_GROUPS,
    OUTPUT,
    SELECTED,
    CommonOptions,
    flags_of,
    with_common_options,
)
from cli.problem import CommandError, UsageError
from cli.runs import find_run, look_at, open_following, run_manifest, start_run
from cli.selection import age_order
from cli.session import Session
from cli.step_logs import refuse_unknown_steps
from cli.watching import MAX_LINE_CHARACTERS, failure_report, shown_line
from core.api import keys
from core.api.objects import Object
from core.api.resource import POD, STEP_RUN, STORY, STORY_RUN, Resource


async def make(session: Session, resource: Resource, obj: Object) -> None:
    typed = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
    await session.client.create(resource, typed, namespace="default")


async def a_story(session: Session, name: str = "story") -> None:
    steps = [{"name": "one", "ref": {"name": "worker"}}]
    await make(session, STORY, {"metadata": {"name": name}, "spec": {"steps": steps}})


async def a_run(session: Session, name: str, story: str = "story") -> Object:
    return await start_run(session, run_manifest(story, "default", {}, name=name))


async def put_status(session: Session, run: Object, **status: Any) -> None:
    await session.client.patch(
        STORY_RUN, run["metadata"]["name"], {"status": status}, namespace="default", subresource="status"
    )


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (("2026-11-29T14:00:00Z", "9", "z"), ("2026-11-29T14:00:01Z", "1", "a")),
        (("2026-11-29T14:00:00Z", "9", "z"), ("2026-11-29T14:00:00Z", "10", "a")),
        (("2026-11-29T14:00:00Z", "x", "a"), ("2026-11-29T14:00:00Z", "x", "b")),
    ],
    ids=["by the second", "within a second, by the last change", "versions that are no numbers"],
)
def test_the_newer_of_two_runs(older: tuple[str, str, str], newer: tuple[str, str, str]) -> None:
    runs = [
        {"metadata": dict(zip(("creationTimestamp", "resourceVersion", "name"), fields, strict=True))}
        for fields in (newer, older)
    ]
    assert sorted(runs, key=age_order) == [runs[1], runs[0]]


async def test_a_run_is_found_by_name_prefix_and_as_the_latest(session: Session) -> None:
    for name, story in (("alpha-1", "alpha"), ("beta-1", "beta"), ("beta-2", "beta")):
        await a_run(session, name, story)

    async def found(reference: str) -> str:
        return str((await find_run(session, reference))["metadata"]["name"])

    assert [await found(reference) for reference in ("beta-1", "al", "@latest:alpha")] == [
        "beta-1",
        "alpha-1",
        "alpha-1",
    ]
    assert await found("@latest") == "beta-2"
    child = run_manifest("gamma-ray", "default", {}, name="zeta")
    child["metadata"]["labels"] = {"bubustack.io/parent-storyrun": "beta-2"}
    await start_run(session, child)
    assert await found("@latest") == "beta-2"
    assert await found("@latest:gamma-ray") == "zeta"
    with pytest.raises(CommandError, match="'beta' is a prefix of 2 runs: beta-1, beta-2"):
        await found("beta")
    with pytest.raises(CommandError, match="no StoryRun 'gamma'"):
        await found("gamma")
    with pytest.raises(CommandError, match="there is no run of Story 'gamma'"):
        await found("@latest:gamma")
    with pytest.raises(UsageError, match="unknown reference '@newest'"):
        await found("@newest")


async def test_a_name_that_is_taken_is_a_rejection(session: Session) -> None:
    await a_run(session, "mine")

    with pytest.raises(CommandError, match="exists already") as taken:
        await a_run(session, "mine")

    assert taken.value.code is ExitCode.REJECTED


def test_a_run_without_a_name_is_named_after_its_story() -> None:
    long = run_manifest("s" * 300, "default", {"a": 1})

    assert run_manifest("story", "team", {})["metadata"] == {"namespace": "team", "generateName": "story-"}
    assert len(long["metadata"]["generateName"]) + 5 <= 253
    assert long["spec"]["inputs"] == {"a": 1}


async def test_following_draws_every_change_until_the_end(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    await a_story(session)
    run = await a_run(session, "mine")

    async def operate() -> None:
        await put_status(session, run, phase="Running", stepStates={"one": {"phase": "Running"}})
        await trio.sleep(0.1)
        await put_status(session, run, phase="Succeeded", stepStates={"one": {"phase": "Succeeded"}})

    async with open_following(session, run) as following, trio.open_nursery() as nursery:
        nursery.start_soon(operate)
        view = await show_until_done(session, following)
    lines = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]

    assert exit_code_of(view) is ExitCode.DONE
    assert lines == [
        "mine Pending→Running",
        "mine one Pending→Running",
        "mine one Running→Succeeded",
        "mine Running→Succeeded",
    ]


async def test_a_wait_that_is_too_short_has_a_code_of_its_own(session: Session) -> None:
    run = await a_run(session, "mine")
    async with open_following(session, run) as following:
        with pytest.raises(CommandError, match=r"still Pending after 0\.05 s") as passed:
            await show_until_done(session, following, timeout=0.05)

    assert passed.value.code is ExitCode.WAIT_TIMED_OUT
    assert passed.value.remedy.endswith("bobrapet watch mine")


async def test_a_run_that_is_deleted_meanwhile_is_no_longer_waited_for(session: Session) -> None:
    run = await a_run(session, "mine")
    async with open_following(session, run) as following, trio.open_nursery() as nursery:
        nursery.start_soon(session.client.delete, STORY_RUN, "mine", "default")
        with pytest.raises(CommandError, match="was deleted while it was watched"):
            await show_until_done(session, following)
        nursery.cancel_scope.cancel()


async def test_a_failure_report_names_step_error_and_next_command(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, "mine")
    await put_status(
        session, run, phase="Failed", message="step one failed: no table", stepStates={"one": {"phase": "Failed"}}
    )
    step_run = {
        "metadata": {
            "name": "mine-one",
            "labels": {keys.LABEL_STORY_RUN: "mine"},
            "ownerReferences": [
                {
                    "apiVersion": STORY_RUN.api_version,
                    "kind": "StoryRun",
                    "name": "mine",
                    "uid": run["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {"storyRunRef": {"name": "mine"}, "stepId": "one", "engramRef": {"name": "worker"}},
    }
    await make(session, STEP_RUN, step_run)
    error = {"version": "v1", "type": "execution_error", "message": "no table", "retryable": False}
    status = {"phase": "Failed", "exitCode": 3, "exitClass": "terminal", "retries": 0, "error": error}
    await session.client.patch(STEP_RUN, "mine-one", {"status": status}, namespace="default", subresource="status")
    found = await find_run(session, "mine")

    report = await failure_report(session, found, await look_at(session, found))

    assert report.splitlines() == [
        "mine: Failed: step one failed: no table",
        "step one: Failed, exit 3",
        "  type: execution_error",
        "  retryable: false",
        "  exitClass: terminal",
        "more: bobrapet logs mine one",
    ]


async def test_a_failure_report_names_no_logs_of_a_step_without_a_container(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, "mine")
    await put_status(session, run, phase="Failed", message="step one failed", stepStates={"one": {"phase": "Failed"}})
    found = await find_run(session, "mine")

    report = await failure_report(session, found, await look_at(session, found))

    assert report.splitlines()[-1] == "more: bobrapet why mine"


def test_of_a_very_long_log_line_a_summary_shows_the_beginning() -> None:
    assert shown_line("x" * MAX_LINE_CHARACTERS) == "x" * MAX_LINE_CHARACTERS
    assert shown_line("x" * 3_000_000) == "x" * MAX_LINE_CHARACTERS + "… (3,000,000 characters)"


async def test_a_step_the_run_does_not_have_is_refused_with_the_nearest(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, "mine")

    await refuse_unknown_steps(session, run, ["one"])
    with pytest.raises(CommandError, match="run mine has no step 'oen'"):
        await refuse_unknown_steps(session, run, ["oen"])


async def test_why_a_pod_waits_is_shown_with_its_step(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, "mine")
    await put_status(session, run, phase="Running", stepStates={"one": {"phase": "Running"}})
    pod = {
        "metadata": {"name": "p", "labels": {keys.LABEL_STORY_RUN: "mine", keys.LABEL_STEP: "one"}},
        "spec": {"containers": [{"name": "engram", "image": "x"}]},
    }
    await make(session, POD, pod)
    waiting = {"name": "engram", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no\nsuch image"}}}
    await session.client.patch(
        POD,
        "p",
        {"status": {"phase": "Pending", "containerStatuses": [waiting]}},
        namespace="default",
        subresource="status",
    )

    view = await look_at(session, await find_run(session, "mine"))

    assert view.steps[0].waits == "ImagePullBackOff: no such image"


def test_flags_reach_every_verb_in_one_record() -> None:
    seen: list[CommonOptions] = []

    def command(options: CommonOptions, word: str = "") -> None:
        seen.append(options)
        assert word == "w"

    entry = with_common_options(command, also=SELECTED)
    defaults = {name: getattr(CommonOptions(), name) for name in CommonOptions.__slots__}
    entry(word="w", **{**defaults, "namespace": "team"})

    assert seen == [CommonOptions(namespace="team")]


def test_a_command_has_only_the_flags_that_have_an_effect_on_it() -> None:
    seen: list[CommonOptions] = []

    def command(options: CommonOptions) -> None:
        seen.append(options)

    entry = with_common_options(command, also=DATA, without=CLUSTER | OUTPUT)

    assert set(signature(entry).parameters) == {"data", *ALWAYS}
    entry(data=Path("d"), **{name: getattr(CommonOptions(), name) for name in ALWAYS})
    assert seen == [CommonOptions(data=Path("d"))]


def test_every_common_flag_is_described_once() -> None:
    described = [flags for names in OPTION_GROUPS.values() for flags, _ in flags_of(names)]

    assert "-n, --namespace" in described
    assert len(described) == len(set(described)) == len(CommonOptions.__slots__) - len(SELECTED)
