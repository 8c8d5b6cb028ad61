"""What the API server asks, and the answers to it."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from tests.unit.webhooks.admission_reviews import MUTATE_STORY, STEP_RUN_STATUS, VALIDATE_STORY, review, story
from webhooks import review as reviews
from webhooks.finding import CauseType, Rule, Severity
from webhooks.review import MisfitError, NoReviewError

RULE = Rule("story/some", "1.4", CauseType.REQUIRED)
WARNING = Rule("story/other", "1.4", severity=Severity.WARNING)


def test_a_denial_looks_as_that_of_a_built_in_kind() -> None:
    findings = [
        RULE.at("spec.steps[0].name", "is required", "add name"),
        RULE.at("spec.output.x", "there is no function nope", "did you mean now?", "  {{ nope }}\n     ^"),
    ]

    answer = reviews.denied("u", VALIDATE_STORY, story(name="weather"), findings)

    status = answer["response"]["status"]
    assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert (answer["response"]["uid"], answer["response"]["allowed"]) == ("u", False)
    assert (status["code"], status["reason"], status["status"]) == (422, "Invalid", "Failure")
    assert (status["details"]["group"], status["details"]["kind"]) == ("bubustack.io", "Story")
    assert status["details"]["name"] == "weather"
    assert status["details"]["causes"] == [
        {"reason": "FieldValueRequired", "field": "spec.steps[0].name", "message": "is required (add name)"},
        {
            "reason": "FieldValueRequired",
            "field": "spec.output.x",
            "message": "there is no function nope (did you mean now?)\n  {{ nope }}\n     ^",
        },
    ]
    assert status["message"] == (
        'Story.bubustack.io "weather" is invalid:\n'
        "* spec.steps[0].name: is required (add name)\n"
        "* spec.output.x: there is no function nope (did you mean now?)\n  {{ nope }}\n     ^"
    )


def test_a_single_error_is_told_in_one_line() -> None:
    answer = reviews.denied("u", VALIDATE_STORY, story(name="weather"), [RULE.at("spec.x", "is required")])

    assert answer["response"]["status"]["message"] == 'Story.bubustack.io "weather" is invalid: spec.x: is required'


def test_an_object_that_is_to_be_named_by_the_server_is_told_by_its_prefix() -> None:
    new = story(metadata={"name": None, "generateName": "weather-"})

    assert reviews.denied("u", VALIDATE_STORY, new, [RULE.at("", "no")])["response"]["status"]["details"] == {
        "name": "weather-",
        "group": "bubustack.io",
        "kind": "Story",
        "causes": [{"reason": "FieldValueRequired", "field": "spec", "message": "no"}],
    }


def test_a_thousand_errors_keep_the_answer_small() -> None:
    many = [RULE.at(f"spec.steps[{number}].name", "is " + "x" * 3_000) for number in range(1_000)]

    answer = reviews.denied("u", VALIDATE_STORY, story(), many)

    status = answer["response"]["status"]
    assert len(status["message"]) < 8_200
    assert status["message"].splitlines()[-1] == "* and 997 more"
    assert len(status["details"]["causes"]) == 500
    assert all(len(cause["message"]) <= 2_000 for cause in status["details"]["causes"])


def test_warnings_come_with_denials_too() -> None:
    findings = [RULE.at("spec.x", "no"), WARNING.at("spec.y", "is odd", "look again")]

    assert reviews.denied("u", VALIDATE_STORY, story(), findings)["response"]["warnings"] == [
        "spec.y: is odd (look again)"
    ]


def test_a_patch_is_sent_in_base64_and_an_empty_one_not_at_all() -> None:
    operations = [{"op": "add", "path": "/spec/x", "value": 1}]

    response = reviews.allowed("u", operations)["response"]

    assert response["patchType"] == "JSONPatch"
    assert orjson.loads(base64.b64decode(response["patch"])) == operations
    assert reviews.allowed("u")["response"] == {"uid": "u", "allowed": True}


def test_a_review_is_read() -> None:
    body = review(VALIDATE_STORY, story(), story(version="v1"))
    asked = reviews.review_of(body, VALIDATE_STORY)

    assert reviews.uid_of(body) == asked.uid == "705ab4f5-6393-11e8-b7cc-42010a800002"
    assert (asked.operation, asked.username, asked.groups) == ("UPDATE", "alice", frozenset({"system:authenticated"}))
    assert asked.new["spec"]["steps"]
    assert asked.old is not None
    assert asked.is_looked_at


def test_an_object_without_a_namespace_has_that_of_the_request() -> None:
    new = story()
    del new["metadata"]["namespace"]

    assert reviews.review_of(review(VALIDATE_STORY, new), VALIDATE_STORY).new["metadata"]["namespace"] == "team"
    assert "namespace" not in new["metadata"]


@pytest.mark.parametrize("operation", ["DELETE", "CONNECT"])
def test_what_is_deleted_or_connected_to_is_not_looked_at(operation: str) -> None:
    body = review(VALIDATE_STORY, None, None, operation=operation)

    assert not reviews.review_of(body, VALIDATE_STORY).is_looked_at


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"operation": "PATCH"}, "request.operation must be one of", id="operation"),
        pytest.param({"object": None}, "request.object must be an object of kind Story", id="no object"),
        pytest.param({"object": [1]}, "request.object must be an object of kind Story", id="list"),
        pytest.param({"object": {"kind": "Engram"}}, "request.object must be a Story of bubustack.io", id="kind"),
        pytest.param({"operation": "UPDATE"}, "request.oldObject must be an object of kind Story", id="no old"),
        pytest.param({"resource": {"resource": "pods"}}, "request.resource must be bubustack.io/v1alpha1", id="other"),
        pytest.param({"resource": "stories"}, "request.resource must be bubustack.io/v1alpha1", id="no target"),
        pytest.param({"subResource": "status"}, "request.resource must be bubustack.io/v1alpha1", id="subresource"),
    ],
)
def test_a_review_that_does_not_fit_says_why(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MisfitError, match=sentence.replace(".", r"\.")):
        reviews.review_of(review(VALIDATE_STORY, story(), **change), VALIDATE_STORY)


def test_a_write_to_a_status_needs_the_object_before() -> None:
    step_run = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StepRun", "metadata": {"name": "x"}}

    with pytest.raises(MisfitError, match="oldObject"):
        reviews.review_of(review(STEP_RUN_STATUS, step_run), STEP_RUN_STATUS)


def test_another_version_of_reviews_is_not_answered() -> None:
    body = {**review(MUTATE_STORY, story()), "apiVersion": "admission.k8s.io/v1beta1"}

    with pytest.raises(MisfitError, match=r"only AdmissionReview of admission\.k8s\.io/v1 is answered"):
        reviews.review_of(body, MUTATE_STORY)


@pytest.mark.parametrize("request_", [None, [], {}, {"uid": 3}, {"uid": ""}, {"uid": "x" * 300}])
def test_what_cannot_be_told_apart_is_no_review(request_: Any) -> None:
    with pytest.raises(NoReviewError):
        reviews.uid_of({"request": request_})
