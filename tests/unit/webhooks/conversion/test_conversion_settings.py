"""The conversion takes a setting for expressible exactly if the schema of v1beta1 accepts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.api.crd import model_schema
from core.api.loops import MAX_BRANCHES
from core.api.schema import WireModel, peeled
from core.api.v1beta1 import story
from core.story.kinds import SETTINGS
from webhooks.conversion.settings import STEP, merged, split
from webhooks.conversion.step import to_v1beta1

SCALARS = st.sampled_from([None, True, False, 0, 1, 7, 1000, 1001, 1.5, "", "a", "fail", "skip", "5m"])
VALUES = SCALARS | st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "version", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


def model_of(primitive: str) -> type[WireModel]:
    (field,) = (field for name, field in story.Step.model_fields.items() if (field.alias or name) == primitive)
    model: type[WireModel] = peeled(field.annotation)[0]
    return model


def test_the_primitives_and_their_settings_are_those_of_the_schema() -> None:
    assert set(SETTINGS) == set(story.PRIMITIVES)
    for primitive, fields in SETTINGS.items():
        assert set(fields) == {field.alias or name for name, field in model_of(primitive).model_fields.items()}


def test_the_fields_of_a_step_are_those_that_an_api_server_keeps_of_a_branch() -> None:
    schema = model_schema(story.Branch)["properties"]
    own = {name: field for name, field in schema.items() if name not in (*story.PRIMITIVES, "with")}
    assert {name: set(field.get("properties") or ()) for name, field in own.items()} == {
        name: set(fields) if isinstance(fields, Mapping) else set() for name, fields in STEP.items()
    }


@pytest.mark.parametrize("primitive", sorted(SETTINGS))
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_setting_is_shown_exactly_when_the_schema_takes_it(primitive: str, data: st.DataObject) -> None:
    fields = SETTINGS[primitive]
    given_settings: dict[str, Any] = data.draw(
        st.dictionaries(st.sampled_from([*fields, "unknown"]), VALUES, max_size=3)
    )
    shown, hidden = split(given_settings, fields)
    assert merged(shown, hidden, fields) == given_settings
    for key, value in given_settings.items():
        if key == "storyRef" and isinstance(value, dict):
            continue  # compared key by key
        if primitive == "parallel" and key == "steps":
            continue  # each branch is checked when it is converted
        if value is None:
            continue  # an API server drops a null where it is not allowed
        assert (key in shown) == is_taken(model_of(primitive), key, value), (key, value)


def is_taken(model: type[WireModel], key: str, value: Any) -> bool:
    """Whether the model finds no error in that field. Other required fields may be missing."""
    try:
        model.model_validate({key: value})
    except ValidationError as error:
        return all(details["type"] == "missing" and details["loc"] != (key,) for details in error.errors())
    return True


@pytest.mark.parametrize(
    "steps",
    [[], ["x"], [{"name": "a"}] * (MAX_BRANCHES + 1), {"name": "a"}, "x"],
    ids=["none", "odd", "many", "map", "text"],
)
def test_branches_that_no_schema_takes_stay_hidden(steps: Any) -> None:
    there, kept = to_v1beta1({"name": "p", "type": "parallel", "with": {"steps": steps}}, {})
    assert there == {"name": "p", "parallel": {}}
    assert kept == {"primitive": "parallel", "hidden": {"steps": steps}}
