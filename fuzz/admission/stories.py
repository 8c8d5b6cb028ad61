"""Random Stories of both versions: well-formed, nearly so, and JSON of any kind in the place of steps."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from core.api.keys import ANNOTATION_STORY_CONVERSION
from core.api.objects import Object
from core.story.kinds import SETTINGS

ALPHA, BETA = "bubustack.io/v1alpha1", "bubustack.io/v1beta1"
PRIMITIVES = tuple(SETTINGS)
_SETTINGS = (
    "duration", "until", "timeout", "pollInterval", "onTimeout", "phase", "message", "steps", "storyRef", "with",
    "waitForCompletion", "note", "until", "maxIterations", "forEach", "maxConcurrency",
)  # fmt: skip

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "5m", "fail", "skip", " Skip", "{{ inputs.x }}", "sleep"]),
    st.text(max_size=6),
)
json_values = st.builds(
    lambda value: value,
    st.recursive(
        _scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["type", "with", "steps", "name", *PRIMITIVES[:4]]) | st.text(max_size=3),
                inner,
                max_size=3,
            ),
        ),
        max_leaves=12,
    ),
)
"""Any JSON. Built, so that it is one alternative beside well-formed parts, and not as many as it has itself."""
names = st.sampled_from(["a", "b", "c", "d"])
_story_refs = (
    st.fixed_dictionaries({"name": names}, optional={"namespace": names, "version": names, "uid": names}) | json_values
)


def _settings(steps: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fitting = st.fixed_dictionaries(
        {},
        optional={
            "duration": st.just("5m"),
            "until": st.just("true"),
            "onTimeout": st.sampled_from(["fail", "skip", "SKIP", ""]),
            "phase": st.just("Failed"),
            "storyRef": _story_refs,
            "with": st.dictionaries(names, json_values, max_size=2),
            "waitForCompletion": st.booleans(),
            "maxIterations": st.sampled_from([0, 1, 1000, 1001, True, "3"]),
            "steps": st.lists(steps | st.none(), max_size=3) | st.none(),
            "forEach": st.lists(json_values, max_size=2) | st.just("{{ inputs.x }}"),
            "maxConcurrency": st.sampled_from([0, 1, 2**31, None]),
            "note": json_values,
        },
    )
    return st.one_of(fitting, st.dictionaries(st.sampled_from(_SETTINGS), json_values, max_size=4), json_values)


def _common() -> dict[str, st.SearchStrategy[Any]]:
    return {
        "name": names | st.none(),
        "needs": st.lists(names, max_size=2) | st.none(),
        "if": st.text(max_size=4),
        "postExecution": st.fixed_dictionaries(
            {"condition": st.sampled_from(["true", None])}, optional={"unknown": json_values}
        ),
        "unknown": json_values,
    }


def _alpha_steps(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            **_common(),
            "ref": st.fixed_dictionaries({"name": names}),
            "type": st.sampled_from(PRIMITIVES) | st.just("parallel") | json_values,
            "with": _settings(inner),
            **dict.fromkeys(("sleep", "gate"), json_values),
        },
    )


def _beta_steps(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    primitive = st.sampled_from(PRIMITIVES) | st.just("parallel")
    one = st.builds(
        lambda common, key, value: {**common, key: value},
        st.fixed_dictionaries({}, optional=_common()),
        primitive,
        _settings(inner),
    )
    odd = st.fixed_dictionaries(
        {},
        optional={
            **_common(),
            "ref": st.fixed_dictionaries({"name": names}),
            "type": st.sampled_from(PRIMITIVES) | json_values,
            "with": json_values,
            **dict.fromkeys(PRIMITIVES, _settings(inner)),
        },
    )
    return one | odd


def _steps(of: Any) -> st.SearchStrategy[Any]:
    leaf = of(json_values)
    return st.one_of(leaf, of(leaf), of(of(leaf)), _parallel(of, leaf), _parallel(of, _parallel(of, leaf)), json_values)


def _parallel(of: Any, branch: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A ``parallel`` step whose branches are objects."""
    settings = st.fixed_dictionaries({"steps": st.lists(branch, min_size=1, max_size=2)})
    if of is _alpha_steps:
        return st.fixed_dictionaries({"name": names, "type": st.just("parallel"), "with": settings})
    return st.fixed_dictionaries({"name": names, "parallel": settings})


_metadata = st.one_of(
    st.fixed_dictionaries(
        {"name": names},
        optional={
            "annotations": st.dictionaries(
                names | st.just(ANNOTATION_STORY_CONVERSION), st.text(max_size=5), max_size=2
            )
            | json_values,
            "labels": st.dictionaries(names, names, max_size=2),
            "resourceVersion": st.just("7"),
        },
    ),
    json_values,
)


def stories(api_version: str) -> st.SearchStrategy[Object]:
    """Stories of that version, from valid ones to nonsense; ``kind`` and ``apiVersion`` are always correct."""
    lists = st.lists(_steps(_alpha_steps if api_version == ALPHA else _beta_steps), max_size=4)
    spec = st.fixed_dictionaries(
        {}, optional={"steps": lists, "compensations": lists, "finally": json_values, "output": json_values}
    )
    return st.fixed_dictionaries(
        {"apiVersion": st.just(api_version), "kind": st.just("Story")},
        optional={
            "metadata": _metadata,
            "spec": st.one_of(spec, spec, json_values),
            "status": json_values,
            "unknown": json_values,
        },
    )
