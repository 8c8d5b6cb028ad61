"""Expressions of a Story over given data: which are chosen, which data they see, and what the command prints."""

from __future__ import annotations

from typing import Any

import pytest

from cli.problem import UsageError
from cli.rendering import FieldRow, RenderRequest, evaluate, field_paths

ENGRAM = {"name": "worker"}
STORY: dict[str, Any] = {
    "metadata": {"name": "demo"},
    "spec": {
        "inputsSchema": {"type": "object", "properties": {"limit": {"type": "integer", "default": 5}}},
        "steps": [
            {
                "name": "fetch",
                "ref": ENGRAM,
                "with": {"url": "x/{{ inputs.city }}", "n": "{{ inputs.limit }}", "m": "a"},
            },
            {
                "name": "send-it",
                "ref": ENGRAM,
                "if": "steps.fetch.output.count > 0",
                "with": {
                    "blob": "{{ steps.fetch.output.blob.part }}",
                    "any": "{{ index steps inputs.which }}",
                    "alias": "{{ steps.send_it.output.ok }}",
                },
                "postExecution": {"condition": "steps['send-it'].output.ok"},
            },
            {"name": "both", "type": "parallel", "with": {"steps": [{"name": "left", "ref": ENGRAM, "if": "true"}]}},
        ],
        "output": {"total": {"count": "{{ steps.fetch.output.count }}"}},
    },
}


async def _rows(**given: Any) -> dict[str, FieldRow]:
    rows = await evaluate(STORY, RenderRequest(**given))
    return {row.field.path.removeprefix("spec."): row for row in rows}


async def test_without_a_choice_all_expressions_are_evaluated() -> None:
    rows = await _rows(inputs={"city": "Bern"}, outputs={"fetch": {"count": 3}})

    assert {path: row.cells(wide=True)[1:] for path, row in rows.items()} == {
        "steps[0].with.url": ["string", "-", '"x/Bern"'],
        "steps[0].with.n": ["number", "-", "5"],
        "steps[1].if": ["bool", "fetch", "true"],
        "steps[1].with.blob": ["error", "fetch", rows["steps[1].with.blob"].cells(wide=True)[3]],
        "steps[1].with.any": ["blocked", "all steps", "waits for all steps"],
        "steps[1].with.alias": ["blocked", "send_it", "waits for send_it"],
        "steps[1].postExecution.condition": ["blocked", "send-it", "waits for send-it"],
        "steps[2].with.steps[0].if": ["bool", "-", "true"],
        "output.total.count": ["number", "fetch", "3"],
    }
    assert field_paths(STORY) == [f"spec.{path}" for path in rows]


@pytest.mark.parametrize(
    ("steps", "paths", "chosen"),
    [
        (["fetch"], [], ["steps[0].with.url", "steps[0].with.n"]),
        (["fetch"], ["with.url"], ["steps[0].with.url"]),
        (["fetch"], ["with"], ["steps[0].with.url", "steps[0].with.n", "steps[0].with.m"]),
        ([], ["output"], ["output.total.count"]),
        ([], ["spec.output.total"], ["output.total.count"]),
        ([], ["if"], ["steps[1].if"]),
        ([], ["steps[1].if", "steps[0].with.n"], ["steps[0].with.n", "steps[1].if"]),
        (["left"], [], ["steps[2].with.steps[0].if"]),
    ],
)
async def test_steps_and_paths_choose(steps: list[str], paths: list[str], chosen: list[str]) -> None:
    assert list(await _rows(steps=steps, paths=paths)) == chosen


@pytest.mark.parametrize(
    ("given", "message", "remedy"),
    [
        ({"steps": ["fecth"]}, "--step: the Story has no step 'fecth'", "did you mean fetch?"),
        ({"steps": ["zzz"]}, "no step 'zzz'", "there are: fetch, send-it, both, left"),
        ({"paths": ["with.ulr"]}, "--field with.ulr: no expression is evaluated there", "did you mean with.url?"),
        ({"steps": ["fetch"], "paths": ["if"]}, "--field if: no expression", "leave out --field"),
        ({"outputs": {"fech": {}}}, "--outputs: the Story has no step 'fech'", "did you mean fetch?"),
        ({"outputs": {"fetch": 1}}, "--outputs: the output of fetch is not an object", '{"step": {"key": "value"}}'),
    ],
)
async def test_a_wrong_choice_is_refused(given: dict[str, Any], message: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        await _rows(**given)

    assert message in str(caught.value)
    assert remedy in caught.value.remedy


async def test_a_reference_is_passed_on_and_told_by_its_key() -> None:
    outputs = {"fetch": {"count": 1, "blob": {"$bubuStorageRef": "run/blob"}}}
    rows = await _rows(outputs=outputs, paths=["with.blob"])

    assert rows["steps[1].with.blob"].cells(wide=True)[1] == "offloaded(run/blob.part)"


async def test_a_check_after_execution_sees_its_own_output_alone_and_is_the_last_word() -> None:
    rows = await _rows(inputs={"city": "Bern"}, outputs={"send-it": {"ok": True}}, paths=["postExecution"])
    failed = await _rows(outputs={"send-it": {}}, paths=["postExecution"])

    assert rows["steps[1].postExecution.condition"].cells(wide=True)[1:] == ["bool", "send-it", "true"]
    assert "ok is missing" in (failed["steps[1].postExecution.condition"].problem or "")


async def test_when_all_is_finished_what_is_missing_is_an_error() -> None:
    rows = await _rows(paths=["output"], finished=True)

    assert "steps.fetch.output.count" in (rows["output.total.count"].problem or "")


async def test_a_program_is_told_everything_that_is_known() -> None:
    rows = await _rows(outputs={"fetch": {"count": 3}}, paths=["steps[1].if", "with.any"])

    assert rows["steps[1].if"].document == {
        "field": "spec.steps[1].if",
        "step": "send-it",
        "kind": "condition",
        "expression": "steps.fetch.output.count > 0",
        "needs": ["fetch"],
        "needsAll": False,
        "functions": ["_>_"],
        "constant": False,
        "mostSteps": 6,
        "type": "bool",
        "value": True,
    }
    unknown = rows["steps[1].with.any"].document
    assert (unknown["needsAll"], unknown["needs"], unknown["blocked"]["steps"]) == (True, [], [])


async def test_a_long_value_is_cut_in_a_table_that_is_not_wide() -> None:
    rows = await _rows(inputs={"city": "B" * 100}, paths=["with.url"])

    assert len(rows["steps[0].with.url"].cells(wide=False)[3]) == 60
    assert len(rows["steps[0].with.url"].cells(wide=True)[3]) == 104


EACH: dict[str, Any] = {
    "name": "each",
    "ref": ENGRAM,
    "if": "item.ok",
    "with": {"n": "{{ itemIndex }}", "m": "{{ inputs }}"},
}
LOOPS: dict[str, Any] = {
    "metadata": {"name": "loops"},
    "spec": {
        "steps": [
            {"name": "find", "ref": ENGRAM},
            {"name": "fan", "type": "parallel", "with": {"forEach": "{{ steps.find.output.files }}", "steps": [EACH]}},
            {
                "name": "again",
                "type": "executeStory",
                "with": {
                    "storyRef": {"name": "other"},
                    "until": "previous.done",
                    "maxIterations": 3,
                    "with": {"count": "{{ iteration }}", "before": "{{ previous }}"},
                },
            },
        ],
    },
}


async def _cells(outputs: dict[str, Any]) -> dict[str, list[str]]:
    rows = await evaluate(LOOPS, RenderRequest(outputs=outputs))
    return {row.field.path.rpartition(".")[2]: row.cells(wide=True)[1::2] for row in rows}


async def test_what_is_done_for_each_item_is_told_for_the_first_one() -> None:
    cells = await _cells({"find": {"files": [{"ok": True}, {"ok": False}]}})

    assert (cells["if"], cells["n"], cells["m"]) == (["bool", "true"], ["number", "0"], ["object", "{}"])


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ({}, ["blocked", "waits for find"]),
        ({"find": {"files": []}}, ["blocked", "waits for find"]),
        ({"find": {"files": 3}}, ["error", "spec.steps[1].with.forEach: gave number, not a list of items"]),
    ],
)
async def test_without_an_item_nothing_is_told_of_it(outputs: dict[str, Any], told: list[str]) -> None:
    cells = await _cells(outputs)

    assert cells["if"] == cells["n"] == told
    assert cells["m"] == ["object", "{}"]


async def test_a_loop_is_told_as_it_begins_and_ends_with_what_the_story_gave() -> None:
    before, after = await _cells({}), await _cells({"again": {"done": True}})

    assert before["count"] == after["count"] == ["number", "1"]
    assert before["before"] == after["before"] == ["object", "{}"]
    assert before["until"] == ["blocked", "waits for again"]
    assert after["until"] == ["bool", "true"]


async def test_items_inside_items_are_found_one_after_the_other() -> None:
    each = {"name": "x", "ref": ENGRAM, "with": "{{ item }}"}
    inner = {"name": "inner", "type": "parallel", "with": {"forEach": "{{ item }}", "steps": [each]}}
    step = {"name": "outer", "type": "parallel", "with": {"forEach": [["{{ inputs.a }}", "b"]], "steps": [inner]}}
    rows = await evaluate({"spec": {"steps": [step]}}, RenderRequest(inputs={"a": 1}, paths=["with.steps[0].with"]))

    assert [row.cells(wide=True)[3] for row in rows] == ['[1, "b"]', "1"]
