"""Patches are minimal and correct, and a second patch is empty."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.policy.settings import OperatorSettings
from kubewire import apply_json_patch
from webhooks.cluster_view import InMemoryView
from webhooks.defaults.admission import with_defaults
from webhooks.patch import difference
from webhooks.validate.change import differs

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=3)
KEYS = st.sampled_from(["a", "b", "c", "a/b", "a~b", "~1", "", "0"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
RETRIES = st.fixed_dictionaries(
    {},
    optional={
        "maxRetries": st.none() | st.integers(0, 10),
        "delay": st.sampled_from(["", "1s"]),
        "backoff": st.just("fixed"),
    },
)
STEPS = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b"])},
    optional={
        "sideEffects": st.booleans() | VALUES,
        "execution": st.fixed_dictionaries({}, optional={"retry": RETRIES | VALUES}) | VALUES,
        "with": VALUES,
    },
)
STORIES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"kind": st.just("Story"), "metadata": VALUES},
    optional={
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "steps": st.lists(STEPS | VALUES, max_size=4) | VALUES,
                "finally": st.lists(STEPS, max_size=2),
                "policy": st.fixed_dictionaries(
                    {}, optional={"retries": st.just({"stepRetryPolicy": {}}), "execution": VALUES}
                ),
            },
        )
        | VALUES
    },
)


def applied(before: Any, operations: list[dict[str, Any]]) -> Any:
    return apply_json_patch(copy.deepcopy(before), operations)


def test_only_what_differs_is_named() -> None:
    before = {"a": {"b": 1, "c": [1, {"d": 2}], "gone": 1}}
    after = {"a": {"b": 1, "c": [1, {"d": 3}], "new/key": 4}}

    assert difference(before, after) == [
        {"op": "remove", "path": "/a/gone"},
        {"op": "replace", "path": "/a/c/1/d", "value": 3},
        {"op": "add", "path": "/a/new~1key", "value": 4},
    ]


@given(st.dictionaries(KEYS, VALUES), st.dictionaries(KEYS, VALUES))
def test_applied_it_gives_the_other_value(before: Any, after: Any) -> None:
    assert not differs(applied(before, difference(before, after)), after)
    assert difference(after, after) == []


@given(STORIES)
def test_defaults_are_written_once(new: Any) -> None:
    settings = OperatorSettings()
    filled = with_defaults(new, InMemoryView(settings=settings))
    patched = applied(new, difference(new, filled))

    assert not differs(patched, filled)
    assert difference(patched, with_defaults(patched, InMemoryView(settings=settings))) == []
