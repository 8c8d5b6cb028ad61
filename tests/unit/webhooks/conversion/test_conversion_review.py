"""Answers to ConversionReviews."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from webhooks.conversion.review import BadReviewError, answer
from webhooks.conversion.story import V1ALPHA1, V1BETA1


def review(*objects: Any, wanted: Any = V1BETA1, **request: Any) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "request": {"uid": "7", "desiredAPIVersion": wanted, "objects": list(objects), **request},
    }


def story(name: str, api_version: str = V1ALPHA1) -> Object:
    return {
        "apiVersion": api_version,
        "kind": "Story",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"steps": [{"name": "a", "ref": {"name": "e"}}]},
    }


def test_all_objects_are_converted_in_order() -> None:
    found = answer(review(*(story(f"s{number}") for number in range(500))))
    assert (found["apiVersion"], found["kind"]) == ("apiextensions.k8s.io/v1", "ConversionReview")
    assert "request" not in found
    response = found["response"]
    assert (response["uid"], response["result"]) == ("7", {"status": "Success"})
    assert response["convertedObjects"] == [story(f"s{number}", V1BETA1) for number in range(500)]


def test_objects_in_the_wanted_version_are_returned_as_they_are() -> None:
    there = story("s", V1BETA1)
    assert answer(review(there))["response"]["convertedObjects"] == [there]
    assert answer(review())["response"]["result"] == {"status": "Success"}


def test_one_that_cannot_be_converted_is_named_and_none_is_converted() -> None:
    response = answer(review(*(story(f"s{n}") for n in range(499)), story("odd", "bubustack.io/v3")))["response"]
    assert response["uid"] == "7"
    assert response["convertedObjects"] == []
    assert response["result"]["status"] == "Failure"
    assert response["result"]["message"] == (
        "cannot convert to bubustack.io/v1beta1: Story team/odd: Story has no version 'bubustack.io/v3'; it has "
        "bubustack.io/v1alpha1 and bubustack.io/v1beta1"
    )


def test_objects_without_a_name_are_told_by_their_place() -> None:
    message = answer(review(7, {"metadata": []}, {"kind": "Engram", "metadata": {"name": "e"}}))["response"]["result"][
        "message"
    ]
    assert "objects[0]: must be an object; object objects[1]: its kind is (not a string)" in message
    assert "Engram e: its kind is 'Engram'" in message


def test_a_message_stays_short_whatever_it_names() -> None:
    bad = [{"kind": "K" * 10**6, "metadata": {"name": "n" * 10**6}} for _ in range(100)]
    message = answer(review(*bad, wanted="v" * 10**6))["response"]["result"]["message"]
    assert len(message) < 10_000
    assert message.endswith("and 90 more")


def test_a_version_that_nobody_knows_is_a_failure_and_no_error() -> None:
    assert answer(review(story("s"), wanted="v9"))["response"]["result"]["status"] == "Failure"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "the body must be a JSON object"),
        ([], "the body must be a JSON object"),
        ({}, "the body must be a ConversionReview of apiextensions.k8s.io/v1"),
        ({**review(), "apiVersion": "apiextensions.k8s.io/v1beta1"}, "list v1 in conversionReviewVersions"),
        ({**review(), "request": None}, "request: must be an object"),
        (review(uid=7), "request.uid: must be a string"),
        (review(wanted=None), "request.desiredAPIVersion: must be a string"),
        (review(objects={}), "request.objects: must be a list"),
    ],
)
def test_what_is_no_review_is_refused_in_words(body: Any, message: str) -> None:
    with pytest.raises(BadReviewError, match=message):
        answer(body)
