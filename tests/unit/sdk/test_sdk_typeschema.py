"""JSON Schemas of the types that engrams use."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import jsonschema_rs
import pydantic
import pytest

from bubu_sdk import typeschema


class Colour(enum.Enum):
    RED = "red"


class Part(TypedDict):
    name: str
    note: NotRequired[str]


class Model(pydantic.BaseModel):
    size: int = 3
    shown_as: str = pydantic.Field(alias="shownAs")


@dataclass
class Tree:
    left: Tree | None = None


@dataclass
class Everything:
    text: Annotated[str, "What to count."]
    part: Part
    keyed: str = field(metadata={"key": "$key"})
    number: float = 1.5
    pause: timedelta = timedelta(seconds=90)
    colour: Colour = Colour.RED
    mode: Literal["fast", "slow"] = "fast"
    maybe: int | None = None
    either: int | list[str] = 0
    places: dict[str, tuple[float, ...]] = field(default_factory=dict)
    file: Path = Path("a.txt")
    free: Any = None


def test_every_kind_of_field_is_described() -> None:
    assert typeschema.schema_of(Everything) == {
        "type": "object",
        "required": ["text", "part", "$key"],
        "properties": {
            "text": {"type": "string", "description": "What to count."},
            "part": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "note": {"type": "string"}},
            },
            "$key": {"type": "string"},
            "number": {"type": "number", "default": 1.5},
            "pause": {"type": "string", "default": "1m30s"},
            "colour": {"enum": ["red"], "default": "red"},
            "mode": {"enum": ["fast", "slow"], "default": "fast"},
            "maybe": {"type": ["integer", "null"]},
            "either": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}], "default": 0},
            "places": {
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "number"}},
            },
            "file": {"type": ["string", "object"], "default": "a.txt"},
            "free": {},
        },
    }


@pytest.mark.parametrize("kind", [Everything, Model, Tree, Part, dict[str, int], list[Model], Any, object, None])
def test_every_schema_can_be_used(kind: Any) -> None:
    jsonschema_rs.Draft7Validator(typeschema.schema_of(kind))


def test_a_model_of_pydantic_describes_itself() -> None:
    schema = typeschema.schema_of(Model)

    assert schema["required"] == ["shownAs"]
    assert schema["properties"]["size"]["default"] == 3
    fields = typeschema.fields_of(Model)
    assert fields is not None
    assert (fields["shown_as"].key, fields["shown_as"].required) == ("shownAs", True)


def test_unknown_keys_are_found_at_any_depth() -> None:
    @dataclass
    class Outer:
        parts: list[Part]
        by_name: dict[str, Model]

    data = {"parts": [{"name": "a", "nme": "b"}], "byName": {"x": {"shownAs": "y", "sice": 1}}, "prats": []}
    # Keys that the engram would read in another spelling are known.
    assert dict(typeschema.unknown_keys(data, _resolved(Outer), "inputs")) == {
        "inputs.parts[0].nme": "is not a known field; did you mean 'name'?",
        "inputs.byName.x.sice": "is not a known field; did you mean 'size'?",
        "inputs.prats": "is not a known field; did you mean 'parts'?",
    }


def test_without_a_model_every_key_is_known() -> None:
    assert dict(typeschema.unknown_keys({"a": 1}, dict[str, Any], "inputs")) == {}


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    size: int = 3


class Recursive(pydantic.BaseModel):
    inner: Recursive | None = None


@dataclass
class Whole:
    part: Part


@pytest.mark.parametrize("kind", [Everything, Model, Part, Whole])
def test_the_schema_of_inputs_refuses_a_misspelt_one(kind: Any) -> None:
    assert typeschema.inputs_schema([kind])["additionalProperties"] is False


def test_the_objects_in_inputs_may_have_further_keys() -> None:
    schema = typeschema.inputs_schema([Whole])

    # They may be the output of another step, of which the model describes a part.
    assert not list(jsonschema_rs.Draft7Validator(schema).iter_errors({"part": {"name": "a", "more": 1}}))


@pytest.mark.parametrize("kinds", [[Open], [Part, Open], [Part, Any], [Part, dict[str, int]]])
def test_inputs_that_something_reads_whole_stay_open(kinds: list[Any]) -> None:
    assert typeschema.inputs_schema(kinds)["additionalProperties"] is True


def test_inputs_and_configuration_are_one_object() -> None:
    assert typeschema.inputs_schema([Part, Model]) == {
        "type": "object",
        "required": ["name", "shownAs"],
        "properties": {
            "name": {"type": "string"},
            "note": {"type": "string"},
            "size": {"default": 3, "title": "Size", "type": "integer"},
            "shownAs": {"title": "Shownas", "type": "string"},
        },
        "additionalProperties": False,
    }


@pytest.mark.parametrize("kinds", [[], [Any], [dict[str, int]], [dict]])
def test_plain_dicts_are_not_described(kinds: list[Any]) -> None:
    assert typeschema.inputs_schema(kinds) == {}


def test_a_model_that_contains_itself_is_described_as_it_describes_itself() -> None:
    assert typeschema.inputs_schema([Recursive])["$ref"] == "#/$defs/Recursive"
    assert "anyOf" in typeschema.inputs_schema([Part | None])


def _resolved(kind: type) -> type:
    """A class in a function: its annotations are texts with the names of this module."""
    kind.__annotations__ = {"parts": list[Part], "by_name": dict[str, Model]}
    return kind
