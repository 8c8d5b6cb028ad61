"""Values reach the program unchanged, or the error names their place."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.phases import Reason
from core.workloads.container_result import ResultSource
from core.workloads.plain_container import (
    MAX_INPUTS_FILE_BYTES,
    ContainerCall,
    NotPassableError,
    call_of,
    escaped,
    names_set_by_secrets,
    templates_of,
)
from core.workloads.variables import MAX_VARIABLE_BYTES

SPEC: dict[str, Any] = {
    "command": ["curl"],
    "args": ["-sS", "{{ inputs.url }}"],
    "env": [{"name": "CITY", "value": "{{ inputs.city }}"}],
    "inputsFile": "/in.json",
    "result": {"from": "file", "path": "/out.json"},
}


def call(*args: Any, city: Any = "Rome", inputs: dict[str, Any] | None = None, **spec: Any) -> ContainerCall:
    resolved = {"args": list(args), "env": [{"name": "CITY", "value": city}]}
    return call_of({**SPEC, **spec}, resolved, inputs or {})


def test_only_arguments_and_values_have_templates() -> None:
    assert templates_of(SPEC) == {
        "args": ["-sS", "{{ inputs.url }}"],
        "env": [{"name": "CITY", "value": "{{ inputs.city }}"}],
    }
    assert templates_of({}) == {"args": [], "env": []}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("$(touch x); rm -rf / \n`id`", "$(touch x); rm -rf / \n`id`"),
        ("", ""),
        (5, "5"),
        (1.5, "1.5"),
        (True, "true"),
        (None, "null"),
        ([1, "a"], '[1,"a"]'),
        ({"b": 1, "a": None}, '{"a":null,"b":1}'),
    ],
)
def test_values_become_texts(value: Any, text: str) -> None:
    made = call(value, city=value)

    assert made.args == (text,)
    assert made.env == (("CITY", text),)


def test_a_call_has_all_parts_of_its_template() -> None:
    made = call("-sS", inputs={"url": "x"})

    assert made.command == ("curl",)
    assert (made.inputs_file, made.inputs) == ("/in.json", '{"url":"x"}')
    assert (made.reading.source, made.message_path) == (ResultSource.FILE, "/out.json")


def test_without_arguments_the_image_keeps_its_own() -> None:
    empty: dict[str, Any] = {"args": [], "env": []}

    assert call_of({}, empty, {"large": "x"}).args is None
    assert call_of({}, empty, {"large": "x"}).inputs == ""
    assert call_of({"args": []}, empty, {}).args == ()


def test_dollars_are_doubled_for_kubernetes() -> None:
    assert escaped(["$(PATH)", "$$", "a"]) == ["$$(PATH)", "$$$$", "a"]


@pytest.mark.parametrize(
    ("args", "city", "words", "reason"),
    [
        (["a", "b\0c"], "", r"container.args\[1\]: has a NUL", Reason.EXPRESSION_FAILED),
        ([], "\0", r"container.env\[0\].value: has a NUL", Reason.EXPRESSION_FAILED),
        (["ü" * MAX_VARIABLE_BYTES], "", r"container.args\[0\]: would be 262142 bytes.*inputsFile", "InputTooLarge"),
        ([], "x" * (MAX_VARIABLE_BYTES - 4), r"container.env\[0\].value: would be 131072", Reason.INPUT_TOO_LARGE),
        ([float("inf")], "", r"container.args\[0\]: .*cannot be written as JSON", Reason.EXPRESSION_FAILED),
    ],
)
def test_what_no_process_can_receive_is_named(args: list[Any], city: str, words: str, reason: str) -> None:
    with pytest.raises(NotPassableError, match=words) as refused:
        call(*args, city=city)

    assert refused.value.reason == reason


def test_the_longest_texts_that_a_process_takes_are_passed() -> None:
    assert call("x" * MAX_VARIABLE_BYTES, city="x" * (MAX_VARIABLE_BYTES - 5)).args is not None


def test_the_file_of_the_inputs_has_a_limit() -> None:
    room = MAX_INPUTS_FILE_BYTES - len('{"a":""}')
    assert len(call(inputs={"a": "x" * room}).inputs) == MAX_INPUTS_FILE_BYTES
    with pytest.raises(
        NotPassableError, match=r"container\.inputsFile: the inputs of the step have 131073 bytes"
    ) as no:
        call(inputs={"a": "x" * (room + 1)})
    assert no.value.reason is Reason.INPUT_TOO_LARGE


def test_variables_of_secrets_are_known_as_far_as_their_keys_are() -> None:
    schema = {
        "api": {"expectedKeys": ["KEY"]},
        "db": {"envPrefix": "PG", "mountType": "both", "expectedKeys": ["HOST"]},
        "tls": {"mountType": "file", "expectedKeys": ["CA"]},
        "all": {},
    }

    assert list(names_set_by_secrets({"secretSchema": schema})) == ["api_KEY", "PGHOST"]
