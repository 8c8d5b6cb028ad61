"""The rendered RBAC documents: files, roles for users, the page for reviewers."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from certs.hub_authority import HUB_AUTHORITY_SECRET
from certs.rotation import DEFAULT_SECRET
from core.api.objects import Object
from core.api.resource import OUR_RESOURCES, STORY_RUN
from core.workloads.hub_access import HUB_TLS_SECRET
from core.workloads.hub_key import HUB_KEY_SECRET
from core.workloads.runner import BASE_RULES
from core.workloads.story_runner import RUNNER_BASE_ROLE
from core.workloads.worker_access import WORKER_ROLE
from deployment.permissions import page
from deployment.permissions.files import manifest_files
from deployment.permissions.hub import hub_objects
from deployment.permissions.people import people_roles, role_stem
from deployment.permissions.roles import operator_objects
from deployment.permissions.table import ROLE_TABLES

REPOSITORY = Path(__file__).parents[3]

AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


def stored_documents() -> list[Object]:
    reader = YAML(typ="safe", pure=True)
    paths = sorted((REPOSITORY / "manifests/rbac").glob("*.yaml"))
    return [document for path in paths for document in reader.load_all(path.read_text())]


def key(obj: Object) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def test_the_files_hold_every_object_once() -> None:
    wanted = [*operator_objects(), *hub_objects(), *people_roles()]
    assert sorted(map(key, stored_documents())) == sorted(map(key, wanted))
    assert len({key(obj) for obj in wanted}) == len(wanted)
    assert {key(obj) for _, objects in manifest_files() for obj in objects} == {key(obj) for obj in wanted}


@pytest.mark.parametrize("obj", stored_documents(), ids=lambda obj: "-".join(key(obj)))
def test_no_document_holds_a_wildcard_or_a_right_to_more_rights(obj: Object) -> None:
    for rule in obj.get("rules") or ():
        words = [word for field in rule.values() for word in field]
        assert not [word for word in words if "*" in word]
        assert not {"escalate", "impersonate"} & set(rule["verbs"])
        if "bind" in rule["verbs"]:
            assert (rule["resources"], rule["resourceNames"]) == (["clusterroles"], [RUNNER_BASE_ROLE, WORKER_ROLE])


def test_the_role_that_the_operator_may_bind_has_the_base_rights_and_no_others() -> None:
    [role] = [obj for obj in stored_documents() if obj["metadata"]["name"] == RUNNER_BASE_ROLE]
    assert (role["kind"], role["rules"]) == ("ClusterRole", [dict(rule) for rule in BASE_RULES])
    assert RUNNER_BASE_ROLE not in {(obj.get("roleRef") or {}).get("name") for obj in stored_documents()}


def test_workers_get_their_heartbeats_and_steps_and_nothing_else() -> None:
    [role] = [obj for obj in stored_documents() if obj["metadata"]["name"] == WORKER_ROLE]
    assert {word for rule in role["rules"] for word in rule["resources"]} == {"stepruns", "leases"}
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} & {"delete", "deletecollection"} == set()
    assert WORKER_ROLE not in {(obj.get("roleRef") or {}).get("name") for obj in stored_documents()}


def test_nobody_gets_to_list_or_watch_secrets_but_those_of_our_own() -> None:
    watched = [[DEFAULT_SECRET], [HUB_AUTHORITY_SECRET, HUB_TLS_SECRET], [HUB_KEY_SECRET, HUB_TLS_SECRET]]
    for obj in stored_documents():
        for rule in obj.get("rules") or ():
            if "secrets" in rule.get("resources", ()) and rule.get("resourceNames") not in watched:
                assert not {"list", "watch"} & set(rule["verbs"])


def test_each_kind_joins_the_clusters_own_roles() -> None:
    roles = {obj["metadata"]["name"]: obj for obj in people_roles()}
    for resource in OUR_RESOURCES:
        for level, gathered_by in (("admin", "admin"), ("editor", "edit"), ("viewer", "view")):
            role = roles[f"bobrapet-{role_stem(resource)}-{level}-role"]
            assert role["metadata"]["labels"][AGGREGATE + gathered_by] == "true"
            assert {target for rule in role["rules"] for target in rule["resources"]} == {
                resource.plural,
                f"{resource.plural}/status",
            }


def test_the_roles_are_named_as_in_the_reference() -> None:
    assert [role_stem(resource) for resource in OUR_RESOURCES[:6]] == [
        "story",
        "engram",
        "impulse",
        "catalog-engramtemplate",
        "catalog-impulsetemplate",
        "runs-storyrun",
    ]


def test_only_admins_and_gate_approvers_write_the_status_of_a_run() -> None:
    writers = {
        role["metadata"]["name"]
        for role in people_roles()
        for rule in role["rules"]
        if f"{STORY_RUN.plural}/status" in rule["resources"] and "patch" in rule["verbs"]
    }
    assert writers == {"bobrapet-runs-storyrun-admin-role", "bobrapet-gate-approver-role"}
    [approver] = [role for role in people_roles() if role["metadata"]["name"] == "bobrapet-gate-approver-role"]
    assert not [label for label in approver["metadata"]["labels"] if label.startswith(AGGREGATE)]


def test_the_page_has_a_line_for_every_row_with_its_reasons() -> None:
    text = page.render()
    for table in ROLE_TABLES:
        for permission in table.permissions:
            [line] = [
                line
                for line in text.partition(f"## bobrapet-{table.name}:")[2].partition("\n## ")[0].splitlines()
                if f"`{permission.target}`" in line
                and f"| {', '.join(permission.verbs)} |" in line
                and line.startswith(f"| {permission.resource.group or 'core'} |")
            ]
            assert permission.why in line
            assert permission.seldom in line
