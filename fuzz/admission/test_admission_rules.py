"""Valid objects get no finding; each mistake gets exactly the finding of its rule, at its path.

The tests use random objects of all kinds with random objects around them, and for each rule of the catalogue mistakes
at random places. A failed example is printed as YAML; if it is kept in ``fuzz/corpus/admission``, each later run tests
it again.
"""

from __future__ import annotations

import copy
import io
import json
import random
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from core.api import kinds, manifest
from fuzz.admission import (  # noqa: F401 - mistakes are registered when they are imported
    cases,
    mutations_authors,
    mutations_data,
    mutations_definitions,
    mutations_graph,
    mutations_loops,
    mutations_runs,
    mutations_shape,
    mutations_status,
    mutations_steps,
    mutations_story,
    mutations_streams,
    strategies,
)
from fuzz.admission.cases import Case
from fuzz.admission.mutations import MUTATIONS, Broken, Mutation, broken, broken_often
from fuzz.engine.profile import budget
from localcluster.server import schema
from localcluster.server.types import ResourceType, resource_types_of_crd
from webhooks.finding import Severity
from webhooks.validate.catalogue import RULES

ROOT: Final = Path(__file__).parents[2]
SEVERITIES: Final = {rule.id: rule.severity for rule in RULES}
LARGE: Final = ("story/total-size", "step-run/total-size", "any/too-many")
"""Rules that are broken only by a megabyte of data or by hundreds of findings."""

_NO_PLACE_FOR_DATA: Final = {"story/setting-unknown": "primitives read no key that could hold it"}
_NO_ATTEMPTS: Final = {"definition/retry-unused": "where a mistake is placed, a retry policy may have no effect at all"}
_OTHER_INPUTS: Final = {
    "story/input-unknown": "a new inputsSchema does not mention what the expressions read",
    "story/comparison": "a new inputsSchema has other types",
}
UNAVOIDABLE: Final = {
    "story/strategy-inputs": _OTHER_INPUTS,
    "story/schema": _OTHER_INPUTS,
    "any/schema-too-costly": _OTHER_INPUTS,
    "story/with-size": _NO_PLACE_FOR_DATA,
    "story/reference-form": _NO_PLACE_FOR_DATA,
    "story/reference-namespace": _NO_PLACE_FOR_DATA,
    "story/runtime-doubtful": {
        "story/engram-missing": "it is doubtful just because nobody can tell what the Engram is",
    },
    **dict.fromkeys(
        ("story/step-duration", "story/policy-duration", "definition/retry-on", "story/ref-or-type"), _NO_ATTEMPTS
    ),
    "any/too-many": {
        "story/secret-name": "there must be many findings before there are too many",
    },
}
"""Rule → other rules that are broken together with it, and why. None of these refuses an object that it admits."""


@cache
def _served(kind: str) -> ResourceType:
    """The kind as the API server serves it."""
    resource = next(known.resource for known in kinds.KINDS if known.resource.kind == kind)
    path = ROOT / "manifests" / "crds" / f"{resource.group}_{resource.plural}.yaml"
    crd = YAML(typ="safe", pure=True).load(path)
    return next(rtype for rtype in resource_types_of_crd(crd) if rtype.version == resource.version)


# --- valid objects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", strategies.KINDS)
def test_what_is_right_is_admitted_without_a_word(kind: str) -> None:
    @given(case=strategies.cases(kind))
    @budget(bounded=300 if kind == "Story" else 50, deep=2_000)
    def check(case: Case) -> None:
        event("update" if case.old else "create")
        assert case.findings() == []
        assert manifest.errors_of(case.new) == []

    check()


@pytest.mark.parametrize("kind", strategies.KINDS)
def test_what_is_right_fits_the_definition_that_the_api_server_has(kind: str) -> None:
    @given(case=strategies.cases(kind, update=False))
    @budget(bounded=60 if kind == "Story" else 15, deep=1_000)
    def check(case: Case) -> None:
        stored = copy.deepcopy(case.new)
        assert schema.prune(stored, _served(kind)) == []
        schema.apply_defaults(stored, _served(kind))
        assert [str(cause) for cause in schema.validate(stored, None, _served(kind))] == []

    check()


@given(case=strategies.cases())
@budget(bounded=150, deep=2_000)
def test_what_nobody_can_see_refuses_nothing(case: Case) -> None:
    assert case.findings(complete=False) == []
    alone = Case(case.new, case.old, (), case.policy)
    assert [str(found) for found in alone.findings(complete=False) if found.severity is Severity.ERROR] == []


def test_stories_that_are_right_have_everything_in_them() -> None:
    """A suite with only small Stories would prove little."""
    wanted = {
        *(f'"type": "{word}"' for word in ("condition", "parallel", "sleep", "stop", "wait", "executeStory", "gate")),
        *('"pattern": "realtime"', '"requires": ["steps.', "{{ packet", "packet.", "$bubuTemplate", '"namespace": "'),
        *('"streaming": {"', '"maxRetries": ', '"inputsSchema"', '"runtime": {"', '"postExecution"', '"version": "'),
        *('"finally": [{', '"compensations": [{', '"sideEffects": true', "$bubuSecretRef", "$bubuStorageRef"),
        *(
            '"forEach": [',
            '"forEach": "{{',
            '"maxConcurrency": ',
            '"maxIterations": ',
            "previous",
            "iteration",
            "itemIndex",
        ),
    }

    @given(case=strategies.cases("Story"))
    @budget(bounded=250, deep=1_000)
    def look(case: Case) -> None:
        text = json.dumps(case.new)
        wanted.difference_update([word for word in wanted if word in text])

    look()
    assert wanted == set()


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_mistake_is_told_by_its_rule_at_its_place_and_alone(mutation: Mutation) -> None:
    is_large = mutation.rule in LARGE

    @given(wrong=broken(mutation))
    @budget(bounded=3 if is_large else 10, deep=10 if is_large else 120)
    def check(wrong: Broken) -> None:
        found = wrong.case.findings()
        others = UNAVOIDABLE.get(wrong.rule, {})
        told = [(finding.rule.id, finding.path) for finding in found if finding.rule.id not in others]
        assert sorted(told) == sorted((wrong.rule, path) for path in wrong.paths)
        assert all(finding.message for finding in found)
        refused = any(finding.severity is Severity.ERROR for finding in found)
        assert refused is (SEVERITIES[wrong.rule] is Severity.ERROR)

    check()


def test_every_rule_has_a_mistake_that_breaks_it() -> None:
    assert sorted({rule.id for rule in RULES} - {mutation.rule for mutation in MUTATIONS}) == []
    assert {mutation.rule for mutation in MUTATIONS} <= {rule.id for rule in RULES}


# --- all objects -----------------------------------------------------------------------------------------------------


@given(case=broken_often(), seed=st.integers(0, 2**32))
@budget(bounded=400, deep=4_000)
def test_the_order_of_keys_changes_neither_what_is_told_nor_its_order(case: Case, seed: int) -> None:
    event(f"{min(len(case.findings()), 6)} findings")
    other = Case(_shuffled(case.new, random.Random(seed)), case.old, case.objects, case.policy)

    assert other.findings() == case.findings()


@given(case=broken_often())
@budget(bounded=200, deep=2_000)
def test_it_is_told_the_same_again_and_nothing_is_changed_by_it(case: Case) -> None:
    before = case.copied()
    first = case.findings()

    assert (case.new, case.old, case.objects) == (before.new, before.old, before.objects)
    assert before.findings() == first
    assert len(set(first)) == len(first)


@given(case=strategies.cases("Story", update=False), seed=st.integers(0, 2**32))
@budget(bounded=100, deep=2_000)
def test_steps_may_stand_in_any_order(case: Case, seed: int) -> None:
    chance = random.Random(seed)
    new = copy.deepcopy(case.new)
    for steps in (new["spec"].get(name) or [] for name in ("steps", "compensations", "finally")):
        chance.shuffle(steps)

    assert Case(new, None, case.objects, case.policy).findings() == []


@given(case=strategies.cases())
@budget(bounded=100, deep=2_000)
def test_nothing_asks_the_clock(case: Case) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for name in ("time", "time_ns", "monotonic", "monotonic_ns"):
            patched.setattr(f"time.{name}", _no_clock)
        assert case.findings() == []


def _no_clock() -> float:
    raise AssertionError("a validator asks for the time")


def _shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: _shuffled(value[key], chance) for key in keys}
    return [_shuffled(item, chance) for item in value] if isinstance(value, list) else value


# --- examples --------------------------------------------------------------------------------------------------------


@given(case=strategies.cases())
@budget(bounded=25, deep=1_000)
def test_an_example_is_printed_as_what_lint_reads(case: Case) -> None:
    documents = list(YAML(typ="safe", pure=True).load_all(io.StringIO(repr(case))))

    assert json.dumps(documents, sort_keys=True) == json.dumps([case.new, *case.objects], sort_keys=True)


@pytest.mark.parametrize("path", sorted(cases.CORPUS.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_was_told_wrongly_once_is_told_as_it_should_be(path: Path) -> None:
    told = [f"{finding.rule.id} {finding.path}" for finding in cases.read(path).findings()]

    assert told == cases.told_in(path)
