"""Conversion of Stories between their versions: for any object, converting there and back gives the same object.

As on an API server, each object is pruned by the schema of its version before and after it is converted.
"""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.api.crd import ConversionService, custom_resource_definition
from core.api.keys import ANNOTATION_STORY_CONVERSION
from core.api.objects import Object
from core.api.story import STORY_KIND
from fuzz.admission.stories import ALPHA, BETA, json_values, stories
from fuzz.engine.profile import budget
from localcluster.server.pruning import Pruner, compile_pruner
from webhooks.conversion.review import BadReviewError, answer
from webhooks.conversion.story import converted

_DEFINITION = custom_resource_definition(STORY_KIND, ConversionService("n", "s", "/convert"))
PRUNERS: dict[str, Pruner | None] = {
    f"{STORY_KIND.resource.group}/{version['name']}": compile_pruner(version["schema"]["openAPIV3Schema"], root=True)
    for version in _DEFINITION["spec"]["versions"]
}


def pruned(document: Object) -> Object:
    """A copy without the fields that the schema of its version does not have."""
    document, prune = copy.deepcopy(document), PRUNERS[document["apiVersion"]]
    assert prune is not None
    prune(document)
    return document


def canonical(value: Any) -> str:
    """A string in which true and 1 differ, and 1 and 1.0, as in JSON."""
    return json.dumps(value, sort_keys=True)


@budget(bounded=400, deep=4_000)
@given(stories(ALPHA))
def test_v1alpha1_comes_back_as_it_went(document: Object) -> None:
    document = pruned(document)
    before = copy.deepcopy(document)
    there = converted(document, BETA)
    assert there["apiVersion"] == BETA
    assert canonical(pruned(converted(pruned(there), ALPHA))) == canonical(before)
    assert canonical(document) == canonical(before), "the object that was given is nobody's to change"


@budget(bounded=400, deep=4_000)
@given(stories(BETA))
def test_v1beta1_comes_back_as_it_went(document: Object) -> None:
    document = pruned(document)
    before = copy.deepcopy(document)
    there = converted(document, ALPHA)
    assert there["apiVersion"] == ALPHA
    assert canonical(pruned(converted(pruned(there), BETA))) == canonical(before)
    assert canonical(document) == canonical(before)


@budget(bounded=300, deep=3_000)
@given(stories(ALPHA) | stories(BETA))
def test_a_file_that_no_server_has_pruned_comes_back_as_it_went(document: Object) -> None:
    target = BETA if document["apiVersion"] == ALPHA else ALPHA
    assert canonical(converted(converted(document, target), document["apiVersion"])) == canonical(document)


@budget(bounded=250, deep=2_000)
@given(stories(ALPHA), stories(BETA), stories(ALPHA), stories(BETA))
def test_a_note_about_another_object_changes_no_word_of_this_one(
    alpha: Object, beta: Object, other_alpha: Object, other_beta: Object
) -> None:
    for document, target, donor in (
        (pruned(alpha), BETA, converted(other_beta, ALPHA)),
        (pruned(beta), ALPHA, converted(other_alpha, BETA)),
    ):
        note = {ANNOTATION_STORY_CONVERSION: _annotations(donor).get(ANNOTATION_STORY_CONVERSION, "{}")}
        annotated = {**document, "metadata": {"name": "x", "annotations": note}}
        back = pruned(converted(pruned(converted(annotated, target)), document["apiVersion"]))
        assert canonical({**back, "metadata": None}) == canonical({**annotated, "metadata": None})


@budget(bounded=300, deep=2_000)
@given(json_values)
def test_whatever_is_sent_is_answered_or_refused_in_words(value: Any) -> None:
    reviews = [value, {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": value}]
    for review in reviews:
        with suppress(BadReviewError):
            assert answer(review)["response"]["result"]["status"] in ("Success", "Failure")


@budget(bounded=200, deep=2_000)
@given(st.lists(stories(ALPHA) | stories(BETA) | json_values, max_size=4), st.sampled_from([ALPHA, BETA]))
def test_a_batch_is_converted_as_a_whole_or_not_at_all(objects: list[Any], wanted: str) -> None:
    review = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "request": {"uid": "u", "desiredAPIVersion": wanted, "objects": objects},
    }
    response = answer(review)["response"]
    assert response["uid"] == "u"
    if response["result"]["status"] == "Success":
        assert canonical(response["convertedObjects"]) == canonical([converted(each, wanted) for each in objects])
    else:
        assert response["convertedObjects"] == []
        assert any(not isinstance(each, dict) or each.get("kind") != "Story" for each in objects)


def _annotations(document: Object) -> Object:
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations if isinstance(annotations, dict) else {}
