"""Tables as a real API server (1.37) renders them: every expected row was read off one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from localcluster.server import tables
from localcluster.server.builtin import BUILTIN
from localcluster.server.types import Object, ResourceType
from localcluster_tests.server.schema_samples import record_of

NOW = datetime(2026, 11, 25, 1, 15, 0, tzinfo=UTC)
CREATED = "2026-11-25T01:14:55Z"
STARTED = "2026-11-25T00:30:00Z"
TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:2"}]}}
SELECTOR = {
    "matchLabels": {"app": "x", "a": "b"},
    "matchExpressions": [
        {"key": "k", "operator": "In", "values": ["w", "v"]},
        {"key": "e", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"},
    ],
}
SELECTOR_TEXT = "a=b,app=x,!d,e,k in (v,w)"


def builtin(group: str, plural: str) -> ResourceType:
    return next(rtype for rtype in BUILTIN if (rtype.group, rtype.plural) == (group, plural))


def named(name: str = "x", **more: Any) -> Object:
    return {"metadata": {"name": name, "creationTimestamp": CREATED}, **more}


def cells_of(rtype: ResourceType, obj: Object) -> list[Any]:
    return list(tables.render_table(rtype, [obj], now=NOW, resource_version="7")["rows"][0]["cells"])


WORKLOADS = [
    (
        ("apps", "deployments"),
        named(
            spec={"replicas": 3, "selector": SELECTOR, "template": TEMPLATE},
            status={"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
        ),
        ["x", "1/3", 2, 1, "5s", "a,b", "x:1,y:2", SELECTOR_TEXT],
    ),
    (
        ("apps", "replicasets"),
        named(
            spec={"replicas": 3, "selector": SELECTOR, "template": TEMPLATE},
            status={"replicas": 2, "readyReplicas": 1},
        ),
        ["x", 3, 2, 1, "5s", "a,b", "x:1,y:2", SELECTOR_TEXT],
    ),
    (("apps", "controllerrevisions"), named(data={}, revision=2), ["x", "<none>", 2, "5s"]),
    (
        ("apps", "statefulsets"),
        named(spec={"replicas": 3, "template": TEMPLATE}, status={"readyReplicas": 1}),
        ["x", "1/3", "5s", "a,b", "x:1,y:2"],
    ),
]

OTHERS = [
    (("", "configmaps"), named(data={"a": "b"}, binaryData={"c": "aGk="}), ["x", 2, "5s"]),
    (("", "secrets"), named(type="Opaque", data={"a": "", "b": ""}), ["x", "Opaque", 2, "5s"]),
    (("", "namespaces"), named(status={"phase": "Active"}), ["x", "Active", "5s"]),
    (("", "serviceaccounts"), named(), ["x", "5s"]),
    (
        ("", "services"),
        named(
            spec={
                "type": "ClusterIP",
                "clusterIP": "10.96.0.9",
                "ports": [{"port": 80, "protocol": "TCP"}, {"port": 443, "protocol": "UDP"}],
                "selector": {"z": "1", "a": "2"},
            }
        ),
        ["x", "ClusterIP", "10.96.0.9", "<none>", "80/TCP,443/UDP", "5s", "a=2,z=1"],
    ),
    (
        ("", "services"),
        named(spec={"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 31366}]}),
        ["x", "LoadBalancer", "10.96.0.9", "<pending>", "80:31366/TCP", "5s", "<none>"],
    ),
    (
        ("", "services"),
        named(spec={"type": "ExternalName", "externalName": "foo.bar"}),
        ["x", "ExternalName", "<none>", "foo.bar", "<none>", "5s", "<none>"],
    ),
    (
        ("", "nodes"),
        {
            "metadata": {
                "name": "n1",
                "creationTimestamp": CREATED,
                "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""},
            },
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.1.1.1"}],
                "nodeInfo": {
                    "kubeletVersion": "v1.0",
                    "osImage": "Linux X",
                    "kernelVersion": "6.1",
                    "architecture": "amd64",
                    "containerRuntimeVersion": "proc://1",
                },
            },
        },
        [
            "n1",
            "Ready,SchedulingDisabled",
            "control-plane,worker",
            "5s",
            "v1.0",
            "10.1.1.1",
            "<none>",
            "Linux X",
            "6.1 (amd64)",
            "proc://1",
        ],
    ),
    (
        ("", "nodes"),
        named(),
        ["x", "Unknown", "<none>", "5s", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"],
    ),
    (
        ("", "events"),
        named(
            type="Normal",
            reason="R",
            message=" msg ",
            count=3,
            firstTimestamp=STARTED,
            lastTimestamp="2026-11-25T00:35:00Z",
            source={"component": "c", "host": "h"},
            involvedObject={"kind": "Pod", "name": "p"},
        ),
        ["40m", "Normal", "R", "pod/p", "", "c, h", "msg", "45m", 3, "x"],
    ),
    (
        ("events.k8s.io", "events"),
        named(
            type="Warning",
            reason="R2",
            note="m2",
            eventTime="2026-11-25T00:31:00.123456Z",
            reportingController="rc",
            reportingInstance="ri",
            series={"count": 4, "lastObservedTime": "2026-11-25T00:34:00.000000Z"},
            regarding={"kind": "Pod", "name": "p"},
        ),
        ["41m", "Warning", "R2", "pod/p", "", "rc, ri", "m2", "43m", 4, "x"],
    ),
    (
        ("rbac.authorization.k8s.io", "rolebindings"),
        named(
            roleRef={"kind": "Role", "name": "r1"},
            subjects=[
                {"kind": "User", "name": "u1"},
                {"kind": "User", "name": "u2"},
                {"kind": "Group", "name": "g"},
                {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
            ],
        ),
        ["x", "Role/r1", "5s", "u1, u2", "g", "n/s"],
    ),
    (("rbac.authorization.k8s.io", "roles"), named(), ["x", CREATED]),
    (("coordination.k8s.io", "leases"), named(spec={"holderIdentity": "me"}), ["x", "me", "5s"]),
    (
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        named(
            spec={
                "scope": "Namespaced",
                "group": "g.example.com",
                "names": {"kind": "Widget", "shortNames": ["wd"]},
                "versions": [{"name": "v1", "served": True, "storage": True}, {"name": "v2", "served": True}],
            },
            status={"conditions": [{"type": "Established", "status": "True"}]},
        ),
        ["x", "Namespaced", "v1(storage),v2", CREATED, "g.example.com", "Widget", "wd", True],
    ),
    (
        ("policy", "poddisruptionbudgets"),
        named(spec={"minAvailable": "50%"}, status={"disruptionsAllowed": 1}),
        ["x", "50%", "N/A", 1, "5s"],
    ),
    (
        ("", "resourcequotas"),
        named(status={"hard": {"pods": "5", "limits.cpu": "2"}, "used": {"pods": "1"}}),
        ["x", "pods: 1/5", "limits.cpu: 0/2", "5s"],
    ),
]


@pytest.mark.parametrize(("kind", "obj", "cells"), WORKLOADS + OTHERS)
def test_a_built_in_kind_has_the_cells_of_the_real_server(kind: tuple[str, str], obj: Object, cells: list[Any]) -> None:
    assert cells_of(builtin(*kind), obj) == cells


@pytest.mark.parametrize("rtype", [rtype for rtype in BUILTIN if "list" in rtype.verbs], ids=lambda rtype: rtype.plural)
def test_every_kind_renders_an_empty_object_with_one_cell_per_column(rtype: ResourceType) -> None:
    table = tables.render_table(rtype, [{"metadata": {"name": "x"}}], now=NOW, resource_version="7")
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])
    assert all(column["name"] and column["description"] for column in table["columnDefinitions"])


def job(status: Object, **spec: Any) -> list[Any]:
    return cells_of(builtin("batch", "jobs"), named(spec={"template": TEMPLATE, **spec}, status=status))[1:4]


def test_a_job_shows_its_state_its_progress_and_how_long_it_took() -> None:
    def held(*kinds: str) -> list[Object]:
        return [{"type": kind, "status": "True"} for kind in kinds]

    assert job({}, completions=1) == ["Running", "0/1", ""]
    assert job({"startTime": STARTED}, parallelism=3) == ["Running", "0/1 of 3", "45m"]
    done = {"startTime": STARTED, "completionTime": "2026-11-25T00:30:42Z", "succeeded": 1}
    assert job({**done, "conditions": held("SuccessCriteriaMet", "Complete")}, completions=1) == [
        "Complete",
        "1/1",
        "42s",
    ]
    assert job({"startTime": STARTED, "conditions": held("FailureTarget")}, completions=1)[0] == "FailureTarget"
    assert job({"conditions": held("FailureTarget", "Failed")})[0] == "Failed"
    assert job({"conditions": held("Suspended")})[0] == "Suspended"


def test_a_custom_kind_shows_its_printer_columns_by_type() -> None:
    rtype = record_of(
        {"type": "object"},
        additionalPrinterColumns=[
            {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
            {"name": "Count", "type": "integer", "jsonPath": ".spec.count"},
            {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
            {"name": "Last", "type": "date", "jsonPath": ".status.last", "priority": 1},
            {"name": "Flag", "type": "boolean", "jsonPath": ".spec.flag"},
            {"name": "Ratio", "type": "number", "jsonPath": ".spec.ratio"},
            {"name": "Tags", "type": "string", "jsonPath": ".spec.tags[*]"},
            {"name": "Open", "type": "string", "jsonPath": ".spec.open"},
        ],
    )
    full = named(
        spec={"color": "red", "count": 2, "flag": True, "ratio": 1.5, "tags": ["a", "b"], "open": {"x": [1, "s"]}},
        status={"last": STARTED, "conditions": [{"type": "Other", "status": "Z"}, {"type": "Ready", "status": "True"}]},
    )
    assert cells_of(rtype, full) == ["x", "red", 2, "True", "45m", True, 1.5, "a", '{"x":[1,"s"]}']
    assert cells_of(rtype, named(spec={"count": "two", "flag": 1})) == ["x", *[None] * 8]
    columns = tables.render_table(rtype, [], now=NOW, resource_version="7")["columnDefinitions"]
    assert [column["priority"] for column in columns] == [0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_a_custom_kind_without_columns_shows_name_and_age() -> None:
    assert cells_of(record_of({"type": "object"}), named()) == ["x", "5s"]


def test_rows_carry_metadata_all_or_nothing_as_asked() -> None:
    config_maps = builtin("", "configmaps")
    obj = named(data={"a": "b"})

    def row(include: tables.Include) -> Object:
        table = tables.render_table(config_maps, [obj], now=NOW, resource_version="7", include=include)
        found: Object = table["rows"][0]
        return found

    assert row("Metadata")["object"] == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }
    assert row("Object")["object"] is obj
    assert row("None")["object"] is None


def test_a_page_of_a_list_keeps_its_place() -> None:
    table = tables.render_table(
        builtin("", "configmaps"), [], now=NOW, resource_version="7", continue_token="next", remaining=3
    )
    assert table["metadata"] == {"resourceVersion": "7", "continue": "next", "remainingItemCount": 3}
