"""How ``explain step`` shows its answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cli.render.explained import lines_of
from views.explain.facts import ExplainedValue, StepExplanation

CPU = ExplainedValue("resources.cpuLimit", "8", "EngramTemplate", "EngramTemplate train")
BACKOFF = ExplainedValue("job.backoffLimit", 0, "operator", "operator setting job.backoff-limit")
CLAIM = {"mountPath": "/models", "readOnly": True, "persistentVolumeClaim": {"claimName": "models"}}


def explanation(*values: ExplainedValue, **more: Any) -> StepExplanation:
    plain = StepExplanation(
        *("team", "nightly-1", "train", "team/train", "train", "is running; its Job exists", "nightly-1-train"),
        values,
        (),
        (),
    )
    return replace(plain, **more)


def shown(told: StepExplanation, *, wide: bool = False, no_headers: bool = False) -> list[str]:
    return [line for line, _ in lines_of(told, wide=wide, no_headers=no_headers)]


def test_a_table_has_values_and_layers() -> None:
    assert shown(explanation(CPU, BACKOFF)) == [
        "nightly-1/train  is running; its Job exists",
        "Engram team/train, EngramTemplate train",
        "",
        "SETTING              VALUE   FROM",
        "resources.cpuLimit   8       EngramTemplate train",
        "job.backoffLimit     0       operator setting job.backoff-limit",
    ]


def test_what_differs_is_beside_it_and_explained_below() -> None:
    other = replace(CPU, in_job="4", differs=True, why="the EngramTemplate has changed since")
    gone = ExplainedValue("debug", True, "", "Story step", differs=True, why="the Engram has changed since")
    retries = ExplainedValue("retry.delay", "1s", "", "built-in", in_job="5s", differs=True, why="x")
    assert shown(explanation(other, BACKOFF, gone, retries))[3:] == [
        "SETTING              VALUE   FROM                                 IN THE JOB",
        "resources.cpuLimit   8       EngramTemplate train                 4",
        "job.backoffLimit     0       operator setting job.backoff-limit",
        "debug                true    Story step                           -",
        "retry.delay          1s      built-in                             5s",
        "",
        "the Job has 4 for resources.cpuLimit: the EngramTemplate has changed since",
        "the Job has no debug: the Engram has changed since",
        "the StepRun has 5s for retry.delay: x",
    ]


def test_an_unknown_value_is_not_shown_as_a_value_but_that_of_the_job_is() -> None:
    unknown = replace(BACKOFF, value=None, is_known=False, in_job=3)
    lines = shown(explanation(unknown, notes=("n",), unseen=("the operator's ConfigMap",)), no_headers=True)
    assert lines == [
        "job.backoffLimit   unknown   operator setting job.backoff-limit   3",
        "",
        "note: n",
        "this answer may be incomplete: you may not read the operator's ConfigMap",
    ]


def test_problems_come_first_and_need_no_table() -> None:
    assert shown(explanation(problems=("Engram train does not exist",)))[2:] == ["problem: Engram train does not exist"]


def test_volumes_are_shown_in_words() -> None:
    def said(value: Any) -> str:
        return shown(explanation(ExplainedValue("volumes.v", value, "", "x")), wide=True)[-1].split("   ")[1]

    assert said(CLAIM) == "persistentVolumeClaim models at /models, read-only"
    assert said({"mountPath": "/s", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}) == (
        "emptyDir (Memory, 1Gi) at /s"
    )
    assert said({"mountPath": "/c", "subPath": "a.ini", "configMap": {"name": "c"}}) == (
        "configMap c at /c, path a.ini, read-only"
    )


def test_long_values_are_cut_unless_the_user_wants_all() -> None:
    long = ExplainedValue("placement.affinity", {"a": "b" * 100}, "", "Story step")
    assert shown(explanation(long))[-1].split("   ")[1].endswith("...")
    assert "b" * 100 in shown(explanation(long), wide=True)[-1]
