from __future__ import annotations

import pytest

from core.api.resource import NAMESPACE, OUR_RESOURCES, POD, STORY, TRANSPORT


def test_paths_lead_to_collections_objects_and_subresources() -> None:
    assert STORY.path() == "/apis/bubustack.io/v1alpha1/stories"
    assert STORY.path("a", "b") == "/apis/bubustack.io/v1alpha1/namespaces/a/stories/b"
    assert STORY.path("a", "b", "status") == "/apis/bubustack.io/v1alpha1/namespaces/a/stories/b/status"
    assert POD.path("a") == "/api/v1/namespaces/a/pods"
    assert NAMESPACE.path(name="a") == "/api/v1/namespaces/a"
    assert TRANSPORT.path(name="t") == "/apis/transport.bubustack.io/v1alpha1/transports/t"


def test_paths_that_cannot_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="Transport is cluster-scoped; drop namespace 'a'"):
        TRANSPORT.path("a", "t")
    with pytest.raises(ValueError, match="Story 'b' needs a namespace"):
        STORY.path(name="b")


def test_every_kind_of_ours_has_a_status_subresource() -> None:
    assert all("status" in resource.subresources for resource in OUR_RESOURCES)
    assert len({resource.kind for resource in OUR_RESOURCES}) == len(OUR_RESOURCES) == 12
