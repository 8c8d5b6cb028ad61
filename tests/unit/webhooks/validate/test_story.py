"""A Story that must not run gets all errors, with paths and remedies."""

from __future__ import annotations

from typing import Any

import pytest

from webhooks.cluster_view import InMemoryView
from webhooks.finding import Finding, errors_among
from webhooks.validate import story as stories
from webhooks.validate.expression import MAX_ERRORS

ENGRAM = {"name": "worker"}


def story(*steps: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "spec": {"steps": list(steps), **spec}}


def validate_story(document: dict[str, Any]) -> list[Finding]:
    """The errors of a new Story when no other object is known."""
    return errors_among(stories.validate(document, None, InMemoryView(complete=False)))


def step(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "ref": ENGRAM, **fields}


def errors(*steps: dict[str, Any], **spec: Any) -> list[str]:
    return [str(error) for error in validate_story(story(*steps, **spec))]


def test_a_sound_story_has_no_errors() -> None:
    assert (
        errors(
            step("a", **{"with": {"x": "{{ inputs.x }}"}}),
            step("b", needs=["a"], **{"if": "{{ gt steps.a.output.n 1.0 }}"}),
            {"name": "pause", "type": "sleep", "with": {"duration": "5s"}, "needs": ["b"]},
            output={"n": "{{ steps.a.output.n }}"},
            policy={"timeouts": {"story": "1h"}},
        )
        == []
    )


def test_a_circle_is_named_in_full() -> None:
    assert errors(step("a", needs=["c"]), step("b", needs=["a"]), step("c", needs=["b"])) == [
        "spec.steps[0]: dependency cycle: a → c → b → a (remove one of these needs)"
    ]


def test_an_unknown_need_gets_a_suggestion() -> None:
    assert errors(step("fetch"), step("send", needs=["fecth"])) == [
        "spec.steps[1].needs[0]: there is no step 'fecth' (did you mean fetch?)"
    ]


def test_an_unknown_step_in_a_template_gets_a_suggestion() -> None:
    (error,) = validate_story(story(step("fetch"), step("send", **{"with": {"x": ["a {{ steps.fecth.output.x }}"]}})))

    assert error.path == "spec.steps[1].with.x[0]"
    assert error.message == "an expression refers to step 'fecth', which does not exist (line 1, column 6)"
    assert error.remedy == "did you mean fetch?"
    assert error.excerpt == "  a {{ steps.fecth.output.x }}\n       ^"


@pytest.mark.parametrize(
    ("text", "column"),
    [
        pytest.param("inputs.a && steps.fecth.output.ok", 13, id="CEL"),
        pytest.param('inputs.a && steps["fecth"].output.ok', 13, id="CEL in brackets"),
        pytest.param('{{ $all := steps }}{{ dig "fecth" "output" "ok" $all }}', 49, id="template"),
    ],
)
def test_an_unknown_step_in_a_condition_is_shown_at_its_place(text: str, column: int) -> None:
    (error,) = errors(step("fetch"), step("send", **{"if": text}))

    assert error.startswith("spec.steps[1].if: an expression refers to step 'fecth'")
    assert f"(line 1, column {column})" in error


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param({"with": {"a": {"b": ["{{ nope | }}"]}}}, "spec.steps[0].with.a.b[0]", id="syntax in with"),
        pytest.param({"if": "{{ eq 1 }"}, "spec.steps[0].if", id="syntax in if"),
        pytest.param({"if": "perhaps"}, "spec.steps[0].if", id="condition that is no boolean"),
        pytest.param({"with": {"x": "{{ env `HOME` }}"}}, "spec.steps[0].with.x", id="forbidden function"),
        pytest.param({"execution": {"timeout": "soon"}}, "spec.steps[0].execution.timeout", id="duration"),
    ],
)
def test_a_bad_field_is_named_by_its_path(fields: dict[str, Any], path: str) -> None:
    (error,) = validate_story(story(step("a", **fields)))

    assert error.path == path
    assert error.message


def test_ref_and_type_exclude_each_other() -> None:
    both, neither = {"name": "a", "ref": ENGRAM, "type": "stop"}, {"name": "b"}

    assert [error.partition(" (")[0] for error in errors(both, neither)] == [
        "spec.steps[0]: has ref and type",
        "spec.steps[1]: has none of ref, type, run",
    ]


def test_names_are_unique_over_all_lists() -> None:
    assert errors(step("a"), **{"finally": [step("a")]}) == [
        "spec.finally[0].name: 'a' is already used by spec.steps[0] (choose another name)"
    ]


def test_all_errors_come_at_once() -> None:
    found = errors(
        step("a", needs=["x"], **{"if": "{{"}), output={"y": "{{ nope }}"}, policy={"timeouts": {"story": "-1s"}}
    )

    assert len(found) == 4


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        pytest.param(
            {
                "ref": None,
                "type": "parallel",
                "with": {"steps": [{"name": "b", "ref": ENGRAM, "with": {"x": "{{ nope }}"}}]},
            },
            "spec.steps[0].with.steps[0].with.x",
            "there is no function nope",
            id="branch",
        ),
        pytest.param(
            {"ref": None, "type": "wait", "with": {"until": "inputs.ready = true"}},
            "spec.steps[0].with.until",
            "'=' is not part of the language",
            id="until",
        ),
        pytest.param(
            {"postExecution": {"condition": "packet.x == 1"}},
            "spec.steps[0].postExecution.condition",
            "packet is not available",
            id="check after execution",
        ),
        pytest.param(
            {"idempotencyKeyTemplate": "{{ packet.x }}"},
            "spec.steps[0].idempotencyKeyTemplate",
            "packet is not available",
            id="idempotency key",
        ),
        pytest.param({"runtime": {"x": "{{ if }}"}}, "spec.steps[0].runtime.x", "", id="runtime"),
    ],
)
def test_every_field_with_an_expression_is_checked(fields: dict[str, Any], path: str, message: str) -> None:
    (error,) = validate_story(story({key: value for key, value in step("a", **fields).items() if value is not None}))

    assert error.path == path
    assert error.message.startswith(message)
    assert error.excerpt


def test_parameters_of_the_policy_are_checked() -> None:
    (error,) = errors(step("a"), policy={"with": {"x": "{{ steps.a.output | nope }}"}})

    assert error.startswith("spec.policy.with.x: there is no function nope (line 1, column 21)")


def test_a_realtime_step_is_checked_in_its_own_scopes() -> None:
    realtime = step("b", **{"if": "packet.id == 1", "with": {"x": "{{ steps.a.output }}"}})

    voice = [{"name": "voice", "transportRef": "hub"}]
    (error,) = errors(step("a"), realtime, pattern="realtime", transports=voice)
    assert error.startswith("spec.steps[1].with.x: steps is not available in realtime-static expressions")


def test_all_mistakes_of_a_realtime_story_are_found_at_once() -> None:
    steps = (
        step("a", needs=["b"], transport="video"),
        step("b", needs=["a"]),
        {"name": "c", "type": "gate"},
        {"name": "d", "type": "wait", "with": {"until": "inputs.x"}},
        {"name": "e", "run": "true", "image": "busybox"},
    )
    found = errors(*steps, pattern="realtime")
    for path in ("spec.steps[0].transport", "spec.steps[2].type", "spec.steps[3].type", "spec.steps[4].run"):
        assert [error for error in found if error.startswith(f"{path}: ")]
    assert [error for error in found if error.startswith("spec.transports: is required")]
    assert [error for error in found if "dependency cycle" in error]


def test_reading_stops_where_there_are_errors_enough() -> None:
    wrong = {f"k{number}": f"{{{{ steps.gone{number}.output }}}}" for number in range(150)}
    found = validate_story(story(*(step(f"s{number}", **{"with": wrong}) for number in range(80))))

    assert len(found) == MAX_ERRORS + 1
    assert (found[-1].path, found[-1].remedy) == ("spec.steps[1].with.k50", "correct those first")
    assert found[-1].message == "expressions from here on were not checked: there are already 200 errors"


def test_what_was_meant_is_searched_for_a_few_times_only() -> None:
    wrong = {f"k{number}": f"{{{{ steps.fetc{number}.output }}}}" for number in range(30)}
    found = validate_story(story(step("fetch"), step("send", **{"with": wrong})))

    assert [finding.remedy for finding in found] == [
        *["did you mean fetch?"] * 20,
        *["correct the name, or add the step"] * 10,
    ]


@pytest.mark.parametrize(
    ("condition", "remedy"),
    [
        ('{{ eq packet.type "storyrun.redy" }}', "did you mean storyrun.ready?"),
        ("packet.type == 'StepRun.Ready'", "did you mean steprun.ready?"),
        ("packet.type == 'story.ready'", "did you mean storyrun.ready?"),
        ("packet.type == 'steprun.ended'", "the hub sends steprun.ready and storyrun.ready"),
        ("packet.type in ['storyrun.ready', 'speech.transcript.v1', 'story.told']", ""),
        ("has(packet.storyrun.redy)", ""),
    ],
)
def test_a_hook_that_nobody_sends_is_a_warning_with_the_one_that_was_meant(condition: str, remedy: str) -> None:
    document = story(
        step("a", **{"if": condition}), pattern="realtime", transports=[{"name": "t", "transportRef": "hub"}]
    )
    found = stories.validate(document, None, InMemoryView(complete=False))
    assert [each.remedy for each in found if each.rule.id == "story/hook-unknown"] == ([remedy] if remedy else [])
    assert not errors_among(found)
