"""Which metadata a StoryRun gets before it is stored."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.policy.settings import OperatorSettings, StorageProvider, StorageSettings
from tests.unit.webhooks.admission_reviews import BY_PATH, OPERATOR, review
from webhooks import review as reviews
from webhooks.cluster_view import InMemoryView
from webhooks.decision import decide
from webhooks.defaults.storyrun import with_defaults

HOOK = BY_PATH["/mutate-runs-bubustack-io-v1alpha1-storyrun"]
LABELS = {"bubustack.io/queue": "fast", "bubustack.io/queue-priority": "2"}
STORY: Object = {
    "apiVersion": "bubustack.io/v1alpha1",
    "kind": "Story",
    "metadata": {"name": "report", "namespace": "team"},
    "spec": {"policy": {"queue": "fast", "priority": 2}, "steps": []},
}
WORLD = InMemoryView([STORY], settings=OperatorSettings())


def run(**metadata: Any) -> Object:
    return {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StoryRun",
        "metadata": {"name": "one", "namespace": "team", **metadata},
        "spec": {"storyRef": {"name": "report"}},
    }


def test_a_run_gets_the_labels_of_its_story() -> None:
    filled = with_defaults(run(), WORLD)
    assert filled == run(labels=LABELS)
    assert with_defaults(filled, WORLD) == filled


def test_a_run_whose_story_does_not_exist_gets_no_labels() -> None:
    assert with_defaults(run(), InMemoryView()) == run()


def test_with_an_object_store_it_gets_the_finalizer() -> None:
    settings = OperatorSettings(storage=StorageSettings(StorageProvider.FILE, file_path="/volume"))
    filled = with_defaults(run(), InMemoryView([STORY], settings=settings))
    assert filled["metadata"]["finalizers"] == ["storyrun.bubustack.io/finalizer"]


def test_a_generated_name_is_enough() -> None:
    new = run(generateName="one-")
    del new["metadata"]["name"]
    assert with_defaults(new, WORLD)["metadata"]["labels"] == LABELS


@pytest.mark.parametrize(
    "metadata", [{"labels": 7}, {"annotations": {"bubustack.io/correlation-id": 7}}, {"finalizers": "x"}]
)
def test_metadata_of_the_wrong_type_stays_as_it_is(metadata: Any) -> None:
    assert with_defaults(run(**metadata), WORLD) == run(**metadata)


def test_only_creations_are_asked_for() -> None:
    assert HOOK.operations == ("CREATE",)
    asked = reviews.review_of(review(HOOK, run(), userInfo={"username": "ann"}), HOOK)
    decision = decide(HOOK, asked, WORLD, OPERATOR)
    assert [operation["path"] for operation in decision.patch] == ["/metadata/labels", "/metadata/annotations"]
