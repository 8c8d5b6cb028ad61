from __future__ import annotations

import json
from typing import Any

import pytest

from cli.dump.redaction import Redaction
from core.api.objects import Object
from core.telemetry.logs import REDACTED

PLANTED = "hunter2-planted"


def text(obj: Any) -> str:
    return json.dumps(obj)


def redacted(obj: Object, *, with_data: bool = False) -> Object:
    return Redaction(b"key", with_data).object(obj)


def run(**more: Any) -> Object:
    return {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StoryRun", "metadata": {"name": "r"}, **more}


@pytest.mark.parametrize(
    "obj",
    [
        run(spec={"inputs": {"city": PLANTED}}),
        run(spec={"inputs": [PLANTED]}),
        run(status={"output": {"a": {"b": [PLANTED]}}}),
        run(status={"gates": {"g": {"data": {"ticket": PLANTED}}}}),
        run(metadata={"name": "r", "annotations": {"mine": PLANTED}}),
        run(metadata={"name": "r", "annotations": {"runs.bubustack.io/inputs": PLANTED}}),
        run(metadata={"annotations": {"kubectl.kubernetes.io/last-applied-configuration": PLANTED}}),
        run(metadata={"managedFields": [{"manager": PLANTED}]}),
        run(status={"error": {"message": f"password={PLANTED}", "details": {"a": PLANTED}}}),
        {"kind": "StepRun", "spec": {"input": {"a": PLANTED}}, "status": {"signals": {"s": {"value": PLANTED}}}},
        {"kind": "Pod", "spec": {"containers": [{"env": [{"name": "PLAIN", "value": PLANTED}]}]}},
        {"kind": "Pod", "spec": {"containers": [{"env": [{"name": "BUBU_TRIGGER_DATA", "value": PLANTED}]}]}},
        {"kind": "Pod", "spec": {"containers": [{"args": ["-c", PLANTED], "command": [PLANTED]}]}},
        {"kind": "Pod", "status": {"containerStatuses": [{"state": {"terminated": {"message": PLANTED}}}]}},
        {"kind": "Job", "spec": {"template": {"metadata": {"annotations": {"a.example/b": PLANTED}}}}},
        {"kind": "EffectClaim", "status": {"details": {"receipt": PLANTED}}},
        {"kind": "Engram", "spec": {"with": {"apiKey": PLANTED}}},
        {"kind": "Story", "spec": {"steps": [{"with": {"headers": f"Authorization: Bearer {PLANTED}"}}]}},
        {"kind": "Event", "note": f"token={PLANTED}"},
    ],
    ids=lambda obj: f"{obj['kind']}:{'/'.join(obj)}",
)
def test_nothing_of_the_run_and_no_secret_leaves_the_cluster(obj: Object) -> None:
    assert PLANTED not in text(redacted(obj))


def test_what_was_left_out_is_counted() -> None:
    redaction = Redaction(b"key")
    redaction.object(run(spec={"inputs": {}}, status={"output": {}}))

    assert (redaction.take_removed(), redaction.take_removed()) == (2, 0)


def test_names_states_references_and_the_operators_variables_stay() -> None:
    pod = {
        "kind": "Pod",
        "metadata": {"name": "p", "annotations": {"runs.bubustack.io/attempt": "2"}},
        "spec": {
            "containers": [
                {
                    "env": [
                        {"name": "BUBU_STEP_NAME", "value": "a"},
                        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                    ],
                    "envFrom": [{"secretRef": {"name": "db"}}],
                }
            ],
            "imagePullSecrets": [{"name": "registry"}],
        },
        "status": {"phase": "Failed", "reason": "Evicted"},
    }

    assert redacted(pod) == pod


def test_definitions_stay_with_their_templates() -> None:
    story = {
        "kind": "Story",
        "spec": {
            "steps": [{"name": "a", "with": {"apiKey": "{{ inputs.key }}", "city": "Bern"}, "secrets": {"s": "db"}}]
        },
    }

    assert redacted(story) == story


def test_data_that_the_user_asks_for_stays_without_what_looks_like_a_secret() -> None:
    found = redacted(
        run(spec={"inputs": {"city": "Bern", "api": {"token": {"a": PLANTED}}, "url": f"https://u:{PLANTED}@h"}}),
        with_data=True,
    )

    assert found["spec"]["inputs"] == {"city": "Bern", "api": {"token": REDACTED}, "url": f"https://u:{REDACTED}@h"}


def test_secrets_in_data_are_learnt_so_that_logs_do_not_have_them() -> None:
    redaction = Redaction(b"key")
    redaction.object(run(spec={"inputs": {"auth": {"password": PLANTED}}}))
    redaction.object(
        {
            "kind": "Pod",
            "spec": {"containers": [{"env": [{"name": "X_TOKEN", "value": "abc-12345"}]}]},
            "metadata": {"annotations": {"runs.bubustack.io/inputs": '{"secret": "from-json-1"}'}},
        }
    )

    hidden, count = redaction.values.hide(f"{PLANTED} abc-12345 from-json-1")

    assert (hidden, count) == (f"{REDACTED} {REDACTED} {REDACTED}", 3)


def test_an_object_that_is_nested_too_deep_is_cut() -> None:
    deep: Any = PLANTED
    for _ in range(200):
        deep = {"a": deep}

    assert PLANTED not in text(redacted({"kind": "Story", "spec": deep}))
