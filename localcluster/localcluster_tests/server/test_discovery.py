"""Discovery documents, in the shapes a real API server (1.37) gives them."""

from __future__ import annotations

import pytest

from localcluster.server import discovery
from localcluster.server.builtin import BUILTIN
from localcluster.server.types import resource_types_of_crd
from localcluster_tests.server.schema_samples import WIDGET_SCHEMA, crd_of

WIDGETS = resource_types_of_crd(
    crd_of(WIDGET_SCHEMA, subresources={"status": {}, "scale": {"specReplicasPath": ".spec.replicas"}})
)


def test_the_core_group_lists_its_resources_with_their_subresources() -> None:
    document = discovery.group_resources(BUILTIN, "", "v1")
    assert document is not None
    assert document["groupVersion"] == "v1"
    by_name = {entry["name"]: entry for entry in document["resources"]}
    assert by_name["pods"] == {
        "name": "pods",
        "singularName": "pod",
        "namespaced": True,
        "kind": "Pod",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["po"],
        "categories": ["all"],
    }
    assert by_name["pods/log"] == {
        "name": "pods/log",
        "singularName": "",
        "namespaced": True,
        "kind": "Pod",
        "verbs": ["get"],
    }
    assert by_name["serviceaccounts/token"]["group"] == "authentication.k8s.io"
    assert by_name["serviceaccounts/token"]["kind"] == "TokenRequest"
    assert by_name["namespaces/finalize"]["verbs"] == ["update"]


def test_a_custom_kind_stands_beside_the_built_in_ones() -> None:
    document = discovery.group_resources([*BUILTIN, *WIDGETS], "test.example.com", "v1")
    assert document is not None
    assert [entry["name"] for entry in document["resources"]] == ["widgets", "widgets/scale", "widgets/status"]
    scale = document["resources"][1]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    assert document["resources"][0]["shortNames"] == ["wd"]


def test_what_is_not_served_has_no_document() -> None:
    assert discovery.group_resources(BUILTIN, "nope.example.com", "v1") is None
    assert discovery.group_resources(BUILTIN, "apps", "v2") is None
    assert discovery.api_group(BUILTIN, "nope.example.com") is None
    assert discovery.api_group(BUILTIN, "") is None


def test_groups_name_their_preferred_version() -> None:
    document = discovery.api_groups(BUILTIN)
    assert document["kind"] == "APIGroupList"
    names = [group["name"] for group in document["groups"]]
    assert "" not in names
    assert len(names) == len(set(names))
    batch = discovery.api_group(BUILTIN, "batch")
    assert batch is not None
    assert batch["preferredVersion"] == {"groupVersion": "batch/v1", "version": "v1"}


def test_versions_rank_by_stability_then_by_number() -> None:
    ranked = sorted(
        ["v1alpha1", "v1", "foo", "v2beta1", "v10", "v1beta2", "v2"], key=discovery.version_priority, reverse=True
    )
    assert ranked == ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]


def test_aggregated_documents_hold_the_same_resources_as_the_classic_ones() -> None:
    types = [*BUILTIN, *WIDGETS]
    seen: set[str] = set()
    for core in (True, False):
        document = discovery.aggregated(types, core=core)
        assert document["apiVersion"] == "apidiscovery.k8s.io/v2"
        for group in document["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                assert version["freshness"] == "Current"
                classic = discovery.group_resources(types, name, version["version"])
                assert classic is not None
                flat = [
                    full
                    for entry in version["resources"]
                    for full in (
                        entry["resource"],
                        *(f"{entry['resource']}/{sub['subresource']}" for sub in entry.get("subresources", ())),
                    )
                ]
                assert flat == [entry["name"] for entry in classic["resources"]]
                seen.add(f"{name}/{version['version']}")
    assert {"/v1", "apps/v1", "test.example.com/v1"} <= seen


def test_an_aggregated_resource_names_scope_and_response_kind() -> None:
    document = discovery.aggregated(WIDGETS, core=False)
    (widgets,) = document["items"][0]["versions"][0]["resources"]
    assert widgets["scope"] == "Namespaced"
    assert widgets["responseKind"] == {"group": "test.example.com", "version": "v1", "kind": "Widget"}
    assert [sub["subresource"] for sub in widgets["subresources"]] == ["scale", "status"]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (discovery.AGGREGATED_CONTENT_TYPE + ",application/json", True),
        ("application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io", True),
        ("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json", False),
        ("application/json, " + discovery.AGGREGATED_CONTENT_TYPE, False),
        ("application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", False),
        ("application/json", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_the_accept_header_decides_between_classic_and_aggregated(accept: str, wanted: bool) -> None:
    assert discovery.wants_aggregated(accept) is wanted
