"""The hub in an installation: its rights, its Pod, and the ways to it.

(deployment/hub.py, deployment/permissions/hub.py)
"""

from __future__ import annotations

from pathlib import Path

from certs.hub_authority import HUB_AUTHORITY_SECRET, hub_names
from core.api.resource import SECRET
from core.workloads.hub_access import HUB_TLS_SECRET
from core.workloads.hub_key import HUB_KEY_SECRET
from core.workloads.runner import BASE_RULES
from deployment import hub, metadata, workload
from deployment.permissions.files import manifest_files
from deployment.permissions.hub import HUB_TABLES, hub_objects
from deployment.permissions.names import HUB_LEASE_NAME, HUB_TLS_NAME, OPERATOR_NAMESPACE
from deployment.permissions.role_table import Reach
from manager.cluster_hub import LEASE, STOP_SECONDS
from manager.hub_endpoint import host_of, needs_certificate, parse_endpoint

ROWS = [(table, row) for table in HUB_TABLES for row in table.permissions]
POD = hub.deployment()["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def test_the_names_are_those_that_the_processes_use() -> None:
    assert (HUB_LEASE_NAME, HUB_TLS_NAME) == (LEASE, HUB_TLS_SECRET)


def test_of_secrets_the_hub_reads_its_own_two_and_never_an_authority() -> None:
    rows = [(table, row) for table, row in ROWS if row.resource == SECRET]
    assert [(table.reach, row.names, row.verbs) for table, row in rows] == [
        (Reach.OPERATOR_NAMESPACE, (HUB_KEY_SECRET, HUB_TLS_SECRET), ("list", "watch"))
    ]
    assert HUB_AUTHORITY_SECRET not in {name for _, row in ROWS for name in row.names}


def test_outside_its_namespace_the_hub_reads_streams_writes_their_status_and_starts_runs() -> None:
    found = {(row.target, verb) for table, row in ROWS if table.reach is Reach.CLUSTER for verb in row.verbs}
    assert found == {
        ("transportbindings", "list"),
        ("transportbindings", "watch"),
        ("transportbindings/status", "patch"),
        *(("storyruns", verb) for verb in ("get", "create", "list", "watch")),
        ("controllerrevisions", "get"),
    }


def test_nobody_speaks_for_the_hub() -> None:
    """Who writes the status of a binding decides when its step has ended."""
    documents = [document for _, contents in manifest_files() for document in contents]
    roles = {document["metadata"]["name"]: document.get("rules") or () for document in documents}
    writers = {
        name
        for name, rules in [*roles.items(), ("containers of runs", BASE_RULES)]
        for rule in rules
        if {"transportbindings/status", "*"} & set(rule.get("resources") or ()) and set(rule["verbs"]) - {"get"}
    }
    assert writers == {"bobrapet-hub-role"}


def test_the_rights_are_those_of_the_account_that_the_pod_has() -> None:
    account, *others = hub_objects()
    assert account["metadata"]["name"] == POD["serviceAccountName"] == hub.name_of()
    subjects = [subject for obj in others for subject in obj.get("subjects", ())]
    assert {(subject["name"], subject["namespace"]) for subject in subjects} == {("bobrapet-hub", OPERATOR_NAMESPACE)}


def test_the_pod_keeps_to_the_restricted_standard() -> None:
    assert POD["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert CONTAINER["securityContext"]["allowPrivilegeEscalation"] is False
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True


def test_there_is_one_hub_at_a_time_and_it_has_time_to_stop() -> None:
    spec = hub.deployment()["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert POD["terminationGracePeriodSeconds"] > hub.DRAIN_SECONDS + STOP_SECONDS


def test_the_service_and_the_policy_lead_to_ports_of_the_pod() -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    served = {port["port"]: ports[port["targetPort"]] for port in hub.service()["spec"]["ports"]}
    assert served == {port: port for port in (hub.STREAM_PORT, hub.CONSOLE_PORT)}
    assert hub.service()["spec"]["selector"].items() <= hub.POD_LABELS.items()
    assert hub.POD_LABELS != metadata.POD_LABELS, "the managers' Services must not lead here"
    rules = hub.network_policy()["spec"]["ingress"]
    assert [port["port"] for rule in rules for port in rule["ports"]] == [
        ports["grpc"],
        ports["console"],
        ports["metrics"],
    ]
    arguments = hub.arguments()
    assert f"--console-bind-address=:{ports['console']}" in arguments
    assert f"--console-service={hub.name_of()}:{ports['console']}" in arguments


def test_the_operator_is_told_where_the_service_is_and_issues_a_certificate_for_it() -> None:
    (told,) = [flag for flag in workload.arguments() if flag.startswith("--hub-endpoint=")]
    endpoint = parse_endpoint(told.removeprefix("--hub-endpoint="))
    assert endpoint == hub.endpoint() == "bobrapet-hub.bobrapet-system.svc:9000"
    assert needs_certificate(endpoint)
    host = host_of(endpoint)
    assert hub_names(host) == (host, f"{host}.cluster.local")


def test_the_flags_are_ones_that_the_command_knows() -> None:
    reference = (Path(__file__).parents[3] / "docs/commands.md").read_text()
    section = reference.partition("bobrapet hub")[2]
    assert CONTAINER["command"] == ["bobrapet", "hub"]
    for argument in CONTAINER["args"]:
        assert f"`{argument.partition('=')[0]}`" in section
