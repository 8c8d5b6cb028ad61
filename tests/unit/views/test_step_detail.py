"""Everything about one step, and how it is shown. (views/step_detail.py, cli/render/step_detail.py)"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cli.render.step_detail import lines_of
from core.api.objects import Object
from views.run_view import plain_command, view_run
from views.step_detail import StepDetail, step_detail

NOW = datetime(2026, 1, 1, 12, 1, 0, tzinfo=UTC)
STORY = {
    "metadata": {"name": "report"},
    "spec": {"steps": [{"name": "load", "ref": {"name": "http"}}, {"name": "approve", "type": "gate"}]},
}
JOB = {
    "metadata": {"name": "report-1-load", "creationTimestamp": "2026-01-01T12:00:31Z"},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {"name": "sidecar", "env": [{"name": "BUBU_TRIGGER_DATA", "value": "{}"}]},
                    {"name": "engram", "env": [{"name": "BUBU_TRIGGER_DATA", "value": '{"price": "5 $$", "rows": 3}'}]},
                ]
            }
        }
    },
}
POD = {
    "metadata": {"name": "report-1-load-x", "creationTimestamp": "2026-01-01T12:00:32Z"},
    "spec": {"nodeName": "n1", "containers": [{"name": "engram", "image": "http:1"}]},
    "status": {
        "phase": "Running",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T12:00:33Z"},
        ],
        "containerStatuses": [{"name": "engram", "state": {"running": {"startedAt": "2026-01-01T12:00:35Z"}}}],
    },
}


def detail_of(
    step: str = "load",
    job: Object | None = None,
    pods: tuple[Object, ...] = (),
    run: Object | None = None,
    **status: Any,
) -> StepDetail:
    run = run or {
        "metadata": {"namespace": "team", "name": "report-1"},
        "spec": {"storyRef": {"name": "report"}},
        "status": {
            "phase": "Running",
            "stepStates": {step: {"phase": "Running", "startedAt": "2026-01-01T12:00:00Z"}},
        },
    }
    step_run = {
        "metadata": {"name": "report-1-load", "creationTimestamp": "2026-01-01T12:00:01Z"},
        "spec": {
            "stepId": "load",
            "engramRef": {"name": "http"},
            "input": {"price": "{{ late }}"},
            "retry": {"maxRetries": 2},
        },
        "status": status,
    }
    own = step_run if step == "load" else None
    view = view_run(run, STORY, [own] if own else [])
    return step_detail(run, next(each for each in view.steps if each.name == step), own, job, pods)


def shown(detail: StepDetail) -> list[str]:
    return [line for line, _ in lines_of(detail, NOW, plain_command)]


def test_the_trace_is_that_of_the_step_run_and_of_a_step_without_one_that_of_the_run() -> None:
    run: Object = {
        "metadata": {"namespace": "team", "name": "report-1"},
        "spec": {"storyRef": {"name": "report"}},
        "status": {"phase": "Running", "trace": {"traceId": "ab" * 16, "spanId": "cd" * 8, "sampled": True}},
    }
    own = {"traceId": "ab" * 16, "spanId": "ef" * 8, "sampled": True}

    traced = detail_of(run=run, trace=own).trace
    assert traced is not None
    assert traced.document() == own
    assert f"trace     {'ab' * 16}" in shown(detail_of(run=run, trace=own))
    assert f"trace     {'ab' * 16}" in shown(detail_of("approve", run=run))
    assert detail_of().trace is None


def test_inputs_are_those_that_the_container_got() -> None:
    assert detail_of(job=JOB).inputs == {"price": "5 $", "rows": 3}
    assert detail_of().inputs == {"price": "{{ late }}"}


def test_a_step_at_work_is_shown_with_attempt_job_pod_signals_and_times() -> None:
    events = [{"seq": 1, "key": "rows", "emittedAt": "2026-01-01T12:00:55Z"}]
    status: dict[str, Any] = {
        "phase": "Running",
        "startedAt": "2026-01-01T12:00:00Z",
        "retries": 1,
        "lastFailureMsg": "first\ntry",
        "signals": {"rows": {"value": 3}},
        "signalEvents": events,
        "effects": [{"key": "charge", "status": "succeeded", "seq": 1}],
    }

    assert shown(detail_of(job=JOB, pods=(POD,), **status)) == [
        "report-1/load  Running  1m00s",
        "kind      engram http",
        "attempts  2 of 3",
        "failed    first try",
        "job       report-1-load",
        "pod       report-1-load-x, Running, on n1, image http:1",
        "signals   rows: 3, 5s ago",
        "effects   charge succeeded",
        "times     2026-01-01T12:00:00Z  step started",
        "          2026-01-01T12:00:01Z  StepRun created",
        "          2026-01-01T12:00:31Z  Job of the last attempt created",
        "          2026-01-01T12:00:32Z  Pod created",
        "          2026-01-01T12:00:33Z  node assigned",
        "          2026-01-01T12:00:35Z  container started",
        "",
        "inputs:",
        "  price: 5 $",
        "  rows: 3",
        "",
        "more      bobrapet logs report-1 load",
        "          bobrapet explain step report-1/load",
        "          bobrapet debug report-1/load",
        "          bobrapet why report-1/load",
    ]


def test_a_retry_that_is_waited_for_is_not_an_attempt_yet() -> None:
    status: dict[str, Any] = {"startedAt": "2026-01-01T12:00:00Z", "retries": 1, "nextRetryAt": "2026-01-01T12:01:30Z"}

    assert "attempts  1 of 3; the next one starts 2026-01-01T12:01:30Z (in 30s)" in shown(detail_of(**status))


def test_the_output_of_a_gate_is_the_data_of_its_approval() -> None:
    run = {
        "metadata": {"namespace": "team", "name": "report-1"},
        "spec": {},
        "status": {
            "phase": "Running",
            "stepStates": {"approve": {"phase": "Succeeded"}},
            "gates": {"approve": {"state": "Approved", "data": {"ticket": "OPS-17"}}},
        },
    }
    detail = detail_of("approve", run=run)

    assert (detail.engram, detail.attempts) == ("", 0)
    assert "  ticket: OPS-17" in shown(detail)


def test_a_script_has_its_inputs_in_a_file() -> None:
    annotations = {"runs.bubustack.io/inputs": '{"price": "5 $$"}'}
    containers = [{"name": "engram", "env": [{"name": "BUBU_INPUTS", "value": "/var/run/bubu/inputs.json"}]}]
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": containers}}
    run = {
        "metadata": {"namespace": "team", "name": "report-1"},
        "spec": {"storyRef": {"name": "report"}},
        "status": {"phase": "Running", "stepStates": {"load": {"phase": "Running"}}},
    }
    script: Object = {
        "metadata": {"name": "report-1-load"},
        "spec": {"stepId": "load", "script": {"run": "echo"}, "input": {"price": "{{ late }}"}},
    }
    view = view_run(run, STORY, [script])
    detail = step_detail(run, view.steps[0], script, {**JOB, "spec": {"template": template}}, ())

    lines = shown(detail)

    assert detail.inputs == {"price": "5 $$"}
    assert "kind      script" in lines
    assert [line for line in lines if "bobrapet" in line] == [
        "more      bobrapet logs report-1 load",
        "          bobrapet explain step report-1/load",
        "          bobrapet debug report-1/load",
        "          bobrapet why report-1/load",
    ]
