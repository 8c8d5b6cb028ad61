"""The names for which policy ``reads`` asks about the user's rights, evaluated with the operator's CEL library.

The checks themselves need an API server (``tests/e2e/test_admission_reads.py``).
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from core.api.objects import Object
from deployment.permissions.roles import DEFAULT_INSTALLATION
from deployment.policies import reads

DEPTH = 1
"""Levels of branches in these expressions. The library parses fewer levels than an API server."""
ENVIRONMENT = cel.NewEnv(
    variables=dict.fromkeys(("object", "request", "variables"), cel.Type.DYN),
    extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()],
)
BLOCK: Object = {
    "imagePullSecrets": ["registry"],
    "volumes": [
        {"name": "a", "mountPath": "/a", "persistentVolumeClaim": {"claimName": "models"}},
        {"name": "b", "mountPath": "/b", "configMap": {"name": "settings"}},
        {"name": "c", "mountPath": "/c", "emptyDir": {}},
    ],
}
STEP: Object = {"name": "s", "ref": {"name": "e"}, "execution": BLOCK}
PLACES: dict[str, tuple[str, Object]] = {
    "Engram overrides": ("engrams", {"overrides": BLOCK}),
    "Engram executionPolicy": ("engrams", {"executionPolicy": BLOCK}),
    "Impulse execution": ("impulses", {"execution": BLOCK}),
    "Story policy": ("stories", {"steps": [{"name": "s"}], "policy": {"execution": BLOCK}}),
    "Story step": ("stories", {"steps": [STEP]}),
    "Story finally": ("stories", {"steps": [{"name": "s"}], "finally": [STEP]}),
    "Story branch": ("stories", {"steps": [{"name": "p", "type": "parallel", "with": {"steps": [STEP]}}]}),
}


@functools.cache
def variables() -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reads, "MAX_BRANCH_DEPTH", DEPTH)
        return reads.policy(DEFAULT_INSTALLATION).variables


def named(kind: str, plural: str, spec: Object) -> list[Any]:
    data: Object = {
        "object": {"metadata": {}, "spec": spec},
        "request": {"resource": {"resource": plural}, "namespace": "team"},
        "variables": {"now": spec},
    }
    value = ENVIRONMENT.compile(variables()[f"{kind}0"]).eval(data=data).plain_value()
    assert isinstance(value, list), value
    return value


@pytest.mark.parametrize("place", PLACES)
def test_it_asks_about_all_that_a_pod_would_use(place: str) -> None:
    plural, spec = PLACES[place]
    assert named("secret", plural, spec) == ["registry"]
    assert named("claim", plural, spec) == ["models"]
    assert named("map", plural, spec) == ["settings"]


def test_what_names_nothing_is_not_asked_about() -> None:
    for plural, spec in (("engrams", {}), ("impulses", {"execution": {}}), ("stories", {"steps": [{"name": "s"}]})):
        assert [named(kind, plural, spec) for kind in ("secret", "claim", "map")] == [[], [], []]
