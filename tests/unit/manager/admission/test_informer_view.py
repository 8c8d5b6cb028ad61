"""The view of validators: it reads the caches, and says for kinds without a cache that nothing is known."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio
import trio.testing

from core.api.resource import ENGRAM, REFERENCE_GRANT, SECRET, STORY, TRANSPORT, Resource
from core.api.unreadable import Unreadable, marked
from core.kube.client import KubeClient
from core.kube.informer import Informer
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from manager.admission.informer_view import InformerView
from reconcilers.adapters.world import World
from webhooks.cluster_view import Unseen
from webhooks.validate.story import validate as validate_story


def _object(resource: Resource, name: str, namespace: str = "team") -> dict[str, Any]:
    where = {"namespace": namespace} if resource.namespaced else {}
    return {"kind": resource.kind, "metadata": {"name": name, "uid": name, "resourceVersion": "1", **where}}


@pytest.fixture
def world() -> World:
    return World.watching(cast("KubeClient", None))


@pytest.fixture
def view(world: World) -> InformerView:
    settings = OperatorSettings(cross_namespace_policy=CrossNamespacePolicy.GRANT)
    return InformerView(cast("KubeClient", None), world, lambda: settings)


def _informer(world: World, resource: Resource) -> Informer:
    return next(informer for informer in world if informer.resource == resource)


def test_what_a_cache_holds_is_found_and_what_it_lacks_is_missing(view: InformerView, world: World) -> None:
    engram = _object(ENGRAM, "http")
    _informer(world, ENGRAM).remember(engram)

    assert view.find(ENGRAM, "team", "http") == engram
    assert view.find(ENGRAM, "other", "http") is Unseen.MISSING
    assert view.find(TRANSPORT, "", "grpc") is Unseen.MISSING


def test_secrets_are_unknown(view: InformerView) -> None:
    assert view.find(SECRET, "team", "key") is Unseen.UNKNOWN


def test_grants_are_those_of_one_namespace(view: InformerView, world: World) -> None:
    for namespace in ("team", "shared"):
        _informer(world, REFERENCE_GRANT).remember(_object(REFERENCE_GRANT, "open", namespace))

    assert [grant["metadata"]["namespace"] for grant in view.grants("shared")] == ["shared"]


def test_settings_and_policy_are_those_in_force(view: InformerView) -> None:
    assert view.policy is CrossNamespacePolicy.GRANT
    assert view.settings.cross_namespace_policy is CrossNamespacePolicy.GRANT


def test_another_largest_block_counts_from_the_next_review(world: World) -> None:
    settings = [OperatorSettings(max_story_with_block_size_bytes=65536)]
    view = InformerView(cast("KubeClient", None), world, lambda: settings[0])
    step = {"name": "a", "type": "sleep", "with": {"duration": "1s", "text": "x" * 2000}}
    story = {
        "apiVersion": STORY.api_version,
        "kind": STORY.kind,
        "metadata": {"name": "s", "namespace": "team"},
        "spec": {"steps": [step]},
    }

    def refused() -> list[str]:
        return [each.path for each in validate_story(story, None, view) if "bytes" in each.message]

    assert refused() == []
    settings[0] = OperatorSettings(max_story_with_block_size_bytes=1024)
    assert refused() == ["spec.steps[0].with"]


def test_kinds_that_were_never_listed_are_named(view: InformerView) -> None:
    assert view.trouble.startswith("waiting for the first list of stories, engrams")


async def test_whoever_waits_hears_of_the_next_change(
    autojump_clock: trio.testing.MockClock, view: InformerView, world: World
) -> None:
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(view.changed)
            await trio.testing.wait_all_tasks_blocked()
            _informer(world, STORY).remember(_object(STORY, "one"))


def test_what_cannot_be_read_is_unknown(view: InformerView, world: World) -> None:
    left = marked(_object(STORY, "large"), Unreadable((("spec", "steps"),), "holds too many values"))
    _informer(world, STORY).remember(left)

    assert view.find(STORY, "team", "large") is Unseen.UNKNOWN
