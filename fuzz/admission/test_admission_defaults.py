"""Defaults: they are written as documented, a second time changes nothing, and no other field changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.api.objects import Object
from core.policy.settings import OperatorSettings
from fuzz.admission import strategies
from fuzz.admission.cases import Case
from fuzz.engine.profile import budget
from webhooks.cluster_view import InMemoryView
from webhooks.defaults.admission import with_defaults

SETTINGS: Final = st.integers(0, 50).map(lambda retries: OperatorSettings(max_retries=retries))

WRITTEN: Final = ("maxRetries", "delay", "backoff")
"""The fields of a retry policy that have defaults."""


def _retry_policies(spec: Object) -> Iterator[tuple[str, Object, str]]:
    """Path, parent and key of every retry policy with defaults by admission contract 4.1, existing or to be added."""
    for name in ("steps", "compensations", "finally"):
        for index, step in enumerate(spec.get(name) or ()):
            path = f"spec.{name}[{index}].execution"
            if step.get("sideEffects") or "retry" in (step.get("execution") or {}):
                yield path, step.get("execution") or {}, "retry"
    policy = spec.get("policy") or {}
    for parent, key in (("retries", "stepRetryPolicy"), ("execution", "retry")):
        if key in (policy.get(parent) or {}):
            yield f"spec.policy.{parent}", policy[parent], key


@pytest.mark.parametrize("kind", strategies.KINDS)
def test_filling_in_again_changes_nothing_and_makes_nothing_wrong(kind: str) -> None:
    @given(case=strategies.cases(kind), settings=SETTINGS)
    @budget(bounded=150 if kind == "Story" else 15, deep=2_000)
    def check(case: Case, settings: OperatorSettings) -> None:
        before = copy.deepcopy(case.new)
        filled = with_defaults(case.new, InMemoryView(settings=settings))

        assert case.new == before
        assert with_defaults(filled, InMemoryView(settings=settings)) == filled
        assert kind in ("Story", "StoryRun") or filled == before
        assert kind == "Story" or filled["spec"] == before["spec"]
        old = None if case.old is None else with_defaults(case.old, InMemoryView(settings=settings))
        assert Case(filled, old, case.objects, case.policy).findings() == []

    check()


@given(case=strategies.cases("Story"), settings=SETTINGS)
@budget(bounded=200, deep=2_000)
def test_retry_policies_are_completed_and_nothing_else_is_touched(case: Case, settings: OperatorSettings) -> None:
    filled = with_defaults(case.new, InMemoryView(settings=settings))
    given_ = {path: parent.get(key) for path, parent, key in _retry_policies(case.new["spec"])}
    for path, parent, key in list(_retry_policies(filled["spec"])):
        before, after = given_.pop(path), parent[key]
        least = min(settings.max_retries, 10) if before is not None else 0
        assert {"maxRetries": least, "delay": "1s", "backoff": "exponential"} | _said(before) == after, path
    assert given_ == {}
    assert _without_retries(filled) == _without_retries(case.new)


def _said(retry: Object | None) -> Object:
    """The fields that a retry policy sets; an empty delay counts as not set."""
    return {key: value for key, value in (retry or {}).items() if value is not None and (key != "delay" or value)}


def _without_retries(story: Object) -> str:
    """The Story without its retry policies, and without objects that contain only retry policies."""
    bare = copy.deepcopy(story)
    for _path, parent, key in list(_retry_policies(bare["spec"])):
        parent.pop(key, None)
    for name in ("steps", "compensations", "finally"):
        for step in bare["spec"].get(name) or ():
            if step.get("execution") == {} and step.get("sideEffects"):
                del step["execution"]
    return json.dumps(bare)


@given(case=strategies.cases("Story", update=False), settings=SETTINGS, data=st.data())
@budget(bounded=100, deep=2_000)
def test_what_a_retry_policy_says_stays(case: Case, settings: OperatorSettings, data: st.DataObject) -> None:
    new = copy.deepcopy(case.new)
    said = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "maxRetries": st.integers(0, 10),
                "delay": st.sampled_from(["0s", "5m"]),
                "backoff": st.sampled_from(["linear", "constant"]),
                "jitter": st.integers(0, 100),
                "maxDelay": st.just("1h"),
            },
        )
    )
    steps = new["spec"]["steps"]
    index = data.draw(st.integers(0, len(steps) - 1))
    steps[index].setdefault("execution", {})["retry"] = dict(said)
    steps[index]["sideEffects"] = data.draw(st.booleans())

    retry = with_defaults(new, InMemoryView(settings=settings))["spec"]["steps"][index]["execution"]["retry"]

    assert {key: retry[key] for key in said} == said
    assert {*retry} == {*said, *WRITTEN}
    assert retry["maxRetries"] == said.get("maxRetries", min(settings.max_retries, 10))
