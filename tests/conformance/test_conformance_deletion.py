"""Deletion: finalizers, the three propagation policies, garbage collection by owner, preconditions, grace."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from core.api.objects import Object
from tests.conformance.conformance_api import JSON_PATCH, Api
from tests.conformance.conformance_kinds import FINALIZER, config_map, deployment, owner, pod, widget

RELEASE: Object = {"metadata": {"finalizers": None}}

# --- finalizers ------------------------------------------------------------------------------------------------------


async def test_an_object_without_finalizers_goes_at_once(api: Api) -> None:
    await api.create("widgets", widget("one"))
    assert (await api.delete("widgets", "one")).code == 200
    assert (await api.get("widgets", "one")).code == 404


async def test_a_finalizer_keeps_the_object_until_it_is_taken_away(api: Api) -> None:
    await api.create("widgets", widget("one", finalizers=[FINALIZER]))
    answer = await api.delete("widgets", "one")
    assert answer.code == 200
    assert answer.body["kind"] == "Widget", "what is still there is shown"
    assert answer.metadata["deletionTimestamp"].endswith("Z")
    assert answer.metadata["deletionGracePeriodSeconds"] == 0
    assert (await api.get("widgets", "one")).code == 200
    released = await api.patch("widgets", "one", RELEASE)
    assert released.code == 200
    assert (await api.get("widgets", "one")).code == 404


async def test_the_last_of_several_finalizers_lets_go(api: Api) -> None:
    await api.create("widgets", widget("one", finalizers=[FINALIZER, f"{FINALIZER}-too"]))
    await api.delete("widgets", "one")
    first = [{"op": "remove", "path": "/metadata/finalizers/0"}]
    assert (await api.patch("widgets", "one", first, JSON_PATCH)).metadata["finalizers"] == [f"{FINALIZER}-too"]
    await api.patch("widgets", "one", first, JSON_PATCH)
    assert (await api.get("widgets", "one")).code == 404


async def test_no_finalizer_is_added_to_a_dying_object(api: Api) -> None:
    await api.create("widgets", widget("one", finalizers=[FINALIZER]))
    await api.delete("widgets", "one")
    answer = await api.patch("widgets", "one", {"metadata": {"finalizers": [FINALIZER, "example.com/new"]}})
    assert answer.refusal() == (422, "Invalid")
    assert answer.causes == {("FieldValueForbidden", "metadata.finalizers")}
    assert "no new finalizers can be added if the object is being deleted" in answer.message
    await api.patch("widgets", "one", RELEASE)


async def test_a_dying_object_can_still_be_changed(api: Api) -> None:
    await api.create("widgets", widget("one", finalizers=[FINALIZER]))
    dying = await api.delete("widgets", "one")
    answer = await api.patch("widgets", "one", {"spec": {"size": 5}})
    assert answer.spec["size"] == 5
    assert answer.metadata["deletionTimestamp"] == dying.metadata["deletionTimestamp"]
    await api.patch("widgets", "one", RELEASE)


async def test_a_second_delete_changes_nothing(api: Api) -> None:
    await api.create("widgets", widget("one", finalizers=[FINALIZER]))
    first = await api.delete("widgets", "one")
    second = await api.delete("widgets", "one")
    assert second.code == 200
    assert second.version == first.version
    await api.patch("widgets", "one", RELEASE)


async def test_a_deletion_cannot_be_undone(api: Api) -> None:
    await api.create("widgets", widget("one", finalizers=[FINALIZER]))
    await api.delete("widgets", "one")
    answer = await api.patch("widgets", "one", {"metadata": {"deletionTimestamp": None}})
    assert answer.metadata["deletionTimestamp"]
    await api.patch("widgets", "one", RELEASE)


async def test_the_name_is_taken_until_the_object_is_gone(api: Api) -> None:
    await api.create("widgets", widget("one", finalizers=[FINALIZER]))
    await api.delete("widgets", "one")
    answer = await api.post("widgets", widget("one"))
    assert answer.code == 409
    assert answer.reason == "AlreadyExists"
    assert answer.message.startswith("object is being deleted: ")
    await api.patch("widgets", "one", RELEASE)
    await api.create("widgets", widget("one"))


async def test_a_finalized_object_ends_with_its_last_update(api: Api) -> None:
    await api.create("widgets", widget("one", finalizers=[FINALIZER]))
    dying = (await api.delete("widgets", "one")).body
    del dying["metadata"]["finalizers"]
    assert (await api.put("widgets", dying)).code == 200
    assert (await api.get("widgets", "one")).code == 404


async def test_a_collection_with_finalizers_is_marked(api: Api) -> None:
    await api.create("widgets", widget("a", finalizers=[FINALIZER]))
    await api.create("widgets", widget("b"))
    assert (await api.send("DELETE", api.path("widgets"))).code == 200
    listed = await api.list("widgets")
    assert listed.names == ["a"]
    assert listed.body["items"][0]["metadata"]["deletionTimestamp"]
    await api.patch("widgets", "a", RELEASE)


# --- owners ----------------------------------------------------------------------------------------------------------


async def family(api: Api, **fields: Any) -> Object:
    """Create a widget that owns a config map."""
    parent = await api.create("widgets", widget("parent"))
    await api.create("configmaps", config_map("child", ownerReferences=[owner(parent, **fields)]))
    return parent


async def test_dependents_follow_in_the_background(api: Api) -> None:
    await family(api)
    assert (await api.delete("widgets", "parent", propagationPolicy="Background")).code == 200
    assert (await api.get("widgets", "parent")).code == 404
    await api.wait_until_gone("configmaps", "child")


async def test_the_background_is_the_default(api: Api) -> None:
    await family(api)
    await api.delete("widgets", "parent")
    assert (await api.get("widgets", "parent")).code == 404
    await api.wait_until_gone("configmaps", "child")


async def test_in_the_foreground_dependents_go_first(api: Api) -> None:
    parent = await api.create("widgets", widget("parent"))
    reference = owner(parent, blockOwnerDeletion=True)
    await api.create("configmaps", config_map("child", ownerReferences=[reference], finalizers=[FINALIZER]))
    answer = await api.delete("widgets", "parent", {"propagationPolicy": "Foreground"})
    assert answer.metadata["finalizers"] == ["foregroundDeletion"]
    await api.wait_until("configmaps", "child", lambda obj: "deletionTimestamp" in obj["metadata"])
    assert (await api.get("widgets", "parent")).code == 200, "it waits for the child"
    await api.patch("configmaps", "child", RELEASE)
    await api.wait_until_gone("widgets", "parent")
    assert (await api.get("configmaps", "child")).code == 404


async def test_a_dependent_that_does_not_block_is_not_waited_for(api: Api) -> None:
    parent = await api.create("widgets", widget("parent"))
    await api.create("configmaps", config_map("child", ownerReferences=[owner(parent)], finalizers=[FINALIZER]))
    await api.delete("widgets", "parent", {"propagationPolicy": "Foreground"})
    await api.wait_until_gone("widgets", "parent")
    await api.wait_until("configmaps", "child", lambda obj: "deletionTimestamp" in obj["metadata"])
    await api.patch("configmaps", "child", RELEASE)


async def test_orphans_stay_and_forget_their_owner(api: Api) -> None:
    await family(api)
    await api.delete("widgets", "parent", propagationPolicy="Orphan")
    await api.wait_until_gone("widgets", "parent")
    child = await api.read("configmaps", "child")
    assert "ownerReferences" not in child["metadata"]


async def test_an_object_of_two_owners_outlives_one(api: Api) -> None:
    first = await api.create("widgets", widget("first"))
    second = await api.create("widgets", widget("second"))
    references = [owner(first), owner(second)]
    await api.create("configmaps", config_map("child", ownerReferences=references))
    await api.delete("widgets", "first")
    child = await api.wait_until("configmaps", "child", lambda obj: len(obj["metadata"]["ownerReferences"]) == 1)
    assert child["metadata"]["ownerReferences"][0]["name"] == "second"
    await api.delete("widgets", "second")
    await api.wait_until_gone("configmaps", "child")


async def test_an_owner_that_never_was_takes_its_dependents_along(api: Api) -> None:
    nobody = {"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "0000-not-there"}
    await api.create("secrets", {"metadata": {"name": "child", "ownerReferences": [nobody]}})
    await api.wait_until_gone("secrets", "child")


async def test_an_owner_is_another_one_under_the_same_name(api: Api) -> None:
    parent = await api.create("configmaps", config_map("parent"))
    stale = {**owner(parent), "uid": "0000-another"}
    await api.create("secrets", {"metadata": {"name": "child", "ownerReferences": [stale]}})
    await api.wait_until_gone("secrets", "child")


async def test_grandchildren_follow(api: Api) -> None:
    parent = await api.create("widgets", widget("parent"))
    child = await api.create("configmaps", config_map("child", ownerReferences=[owner(parent)]))
    await api.create("secrets", {"metadata": {"name": "grandchild", "ownerReferences": [owner(child)]}})
    await api.delete("widgets", "parent")
    await api.wait_until_gone("secrets", "grandchild")
    assert (await api.get("configmaps", "child")).code == 404


async def test_a_deployments_replica_set_follows(api: Api) -> None:
    await api.create("deployments", deployment("one"))
    with trio.fail_after(20):
        async with api.watching("replicasets", labelSelector="app=one") as events:
            event = await events.receive()
    (reference,) = event["object"]["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["controller"], reference["blockOwnerDeletion"]) == ("Deployment", True, True)
    await api.delete("deployments", "one")
    await api.wait_until_gone("replicasets", event["object"]["metadata"]["name"])


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"propagationPolicy": "Sideways"}, "propagationPolicy"),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, "propagationPolicy"),
    ],
)
async def test_delete_options_that_cannot_be_are_refused(api: Api, options: Object, field: str) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.delete("widgets", "one", options)
    assert answer.refusal() == (422, "Invalid")
    assert field in answer.message
    assert (await api.get("widgets", "one")).code == 200


# --- preconditions ---------------------------------------------------------------------------------------------------


async def test_a_delete_of_another_incarnation_conflicts(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    answer = await api.delete("widgets", "one", {"preconditions": {"uid": "other"}})
    assert answer.refusal() == (409, "Conflict")
    uid = created["metadata"]["uid"]
    assert f"the UID in the precondition (other) does not match the UID in record ({uid})" in answer.message
    assert (await api.delete("widgets", "one", {"preconditions": {"uid": uid}})).code == 200


async def test_a_delete_of_another_version_conflicts(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    stale = created["metadata"]["resourceVersion"]
    current = await api.patch("widgets", "one", {"spec": {"size": 4}})
    answer = await api.delete("widgets", "one", {"preconditions": {"resourceVersion": stale}})
    assert answer.refusal() == (409, "Conflict")
    version = current.version
    assert f"the ResourceVersion in the precondition ({stale}) does not match" in answer.message
    good = {"preconditions": {"resourceVersion": version}}
    assert (await api.delete("widgets", "one", good)).code == 200


# --- grace -----------------------------------------------------------------------------------------------------------


async def test_a_pod_nobody_runs_goes_at_once(api: Api) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one"))
    answer = await api.delete("pods", "one")
    assert answer.code == 200
    assert (await api.get("pods", "one")).code == 404


async def test_a_pod_on_a_node_gets_its_grace(api: Api) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one", nodeName="n", terminationGracePeriodSeconds=7))
    answer = await api.delete("pods", "one")
    assert answer.metadata["deletionGracePeriodSeconds"] == 7
    assert (await api.get("pods", "one")).code == 200
    shorter = await api.delete("pods", "one", gracePeriodSeconds="2")
    assert shorter.metadata["deletionGracePeriodSeconds"] == 2
    await api.delete("pods", "one", {"gracePeriodSeconds": 0})
    assert (await api.get("pods", "one")).code == 404


async def test_a_negative_grace_is_the_pods_own_or_one(api: Api) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one", nodeName="n"))
    answer = await api.delete("pods", "one", {"gracePeriodSeconds": -1})
    assert answer.code in (200, 422)
    await api.delete("pods", "one", {"gracePeriodSeconds": 0})


# --- namespaces ------------------------------------------------------------------------------------------------------


async def test_a_namespace_takes_everything_along(api: Api) -> None:
    await api.create("configmaps", config_map("one"))
    await api.create("widgets", widget("two"))
    answer = await api.delete("namespaces", api.namespace)
    assert answer.code == 200
    assert answer.body["status"]["phase"] == "Terminating"
    await api.wait_until_gone("namespaces", api.namespace)
    assert (await api.get("configmaps", "one")).code == 404
    assert (await api.get("widgets", "two")).code == 404


async def test_nothing_new_comes_into_a_dying_namespace(api: Api) -> None:
    await api.create("widgets", widget("keeper", finalizers=[FINALIZER]))
    await api.delete("namespaces", api.namespace)
    answer = await api.post("configmaps", config_map("late"))
    assert answer.refusal() == (403, "Forbidden")
    assert answer.message == (
        f'configmaps "late" is forbidden: unable to create new content in namespace {api.namespace} because it is '
        "being terminated"
    )
    assert ("NamespaceTerminating", "metadata.namespace") in answer.causes
    await api.patch("widgets", "keeper", RELEASE)
    await api.wait_until_gone("namespaces", api.namespace)


async def test_a_new_namespace_is_active_and_labelled(api: Api) -> None:
    found = await api.read("namespaces", api.namespace)
    assert found["status"] == {"phase": "Active"}
    assert found["spec"] == {"finalizers": ["kubernetes"]}
    assert found["metadata"]["labels"] == {"kubernetes.io/metadata.name": api.namespace}


async def test_every_namespace_gets_its_account_and_authority(api: Api) -> None:
    await api.until_pods_are_taken()
    found = await api.wait_until("configmaps", "kube-root-ca.crt", lambda _: True)
    assert found["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")


async def test_the_default_namespace_stays(api: Api) -> None:
    answer = await api.delete("namespaces", "default")
    assert answer.refusal() == (403, "Forbidden")
