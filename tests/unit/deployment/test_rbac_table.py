"""The operator's rights: what the table must never contain, and what it must contain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from certs.hub_authority import HUB_AUTHORITY_SECRET
from certs.rotation import DEFAULT_SECRET
from core.api.objects import ReadOnlyObject
from core.api.permission import Permission
from core.api.resource import CLUSTER_ROLE, CONFIG_MAP, SECRET
from core.workloads import runner, runner_rules
from core.workloads.hub_access import HUB_TLS_SECRET
from core.workloads.hub_key import HUB_KEY_SECRET
from core.workloads.impulse_access import impulse_rules
from core.workloads.story_runner import RUNNER_BASE_ROLE
from core.workloads.stream_credentials import AUTHORITY_CONFIG_MAP
from core.workloads.worker_access import WORKER_ROLE
from deployment.network import NETWORK_POLICY
from deployment.permissions import page
from deployment.permissions.names import HUB_LEASE_NAME
from deployment.permissions.roles import Installation, operator_objects
from deployment.permissions.table import CONFIG_NAME, LEASE_NAME, OPERATOR_NAMESPACE, ROLE_TABLES, Reach, role_tables
from manager.options import LeaderOptions, ManagerOptions
from reconcilers import story
from reconcilers.adapters.watched_kind import WatchedKind
from reconcilers.controllers import CONTROLLERS

ROWS = [(table, permission) for table in ROLE_TABLES for permission in table.permissions]
CERTIFICATES = ((DEFAULT_SECRET,), (HUB_AUTHORITY_SECRET, HUB_TLS_SECRET))
OF_THE_HUB = (HUB_KEY_SECRET, HUB_TLS_SECRET)
OWN_SECRETS = (*CERTIFICATES, OF_THE_HUB)
BINDS = next(row for _, row in ROWS if "bind" in row.verbs)
VERBS = {"get", "list", "watch", "create", "update", "patch", "delete"}


def ids(row: Any) -> str:
    return f"{row[0].name}-{row[1].target}-{'-'.join(row[1].verbs)}"


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_a_row_names_plain_verbs_on_one_resource_and_says_why(row: tuple[Any, Permission]) -> None:
    _, permission = row
    assert set(permission.verbs) <= VERBS or permission == BINDS
    assert permission.verbs
    assert "*" not in permission.target + permission.resource.group
    assert permission.why.endswith(".")
    assert permission.seldom == "" or permission.seldom.endswith(".")


def test_two_roles_may_be_bound_by_their_names_and_the_base_has_only_what_the_operator_has() -> None:
    assert [row for _, row in ROWS if row.resource == CLUSTER_ROLE] == [BINDS]
    assert BINDS.names == (RUNNER_BASE_ROLE, WORKER_ROLE)
    head = page.render().partition("\n## ")[0]
    assert all(f"`{name}`" in head for name in BINDS.names)
    assert all(map(is_held, rights(runner.BASE_RULES)))


def test_no_right_is_granted_twice_by_one_role() -> None:
    for table in ROLE_TABLES:
        rights = [(row.resource.group, row.target, verb) for row in table.permissions for verb in row.verbs]
        assert len(rights) == len(set(rights))


def test_secrets_are_never_listed_watched_changed_or_deleted() -> None:
    others = [row for _, row in ROWS if row.resource == SECRET and row.names not in OWN_SECRETS]
    assert {verb for row in others for verb in row.verbs} == {"get", "create"}


def test_the_secrets_of_our_own_are_the_only_ones_that_are_watched() -> None:
    own = {(table.reach, row.names, verb) for table, row in ROWS if row.names in OWN_SECRETS for verb in row.verbs}
    verbs = [(names, ("get", "update", "list", "watch")) for names in CERTIFICATES] + [(OF_THE_HUB, ("list", "watch"))]
    assert own == {(Reach.OPERATOR_NAMESPACE, names, verb) for names, each in verbs for verb in each}


def test_the_only_config_map_that_is_changed_has_one_name() -> None:
    changed = {row.names for _, row in ROWS if row.resource == CONFIG_MAP and "patch" in row.verbs}
    assert changed == {(AUTHORITY_CONFIG_MAP,)}


@pytest.mark.parametrize(
    "target",
    ["pods/exec", "serviceaccounts/token", "nodes/proxy", "clusterrolebindings", "namespaces"],
)
def test_what_leads_to_other_rights_is_not_held(target: str) -> None:
    assert target not in {row.target for _, row in ROWS}


def test_objects_of_the_operators_own_namespace_are_limited_by_name_where_rbac_can() -> None:
    own = [row for table, row in ROWS if table.reach is Reach.OPERATOR_NAMESPACE]
    assert {row.names for row in own if row.verbs != ("create",)} == {
        (CONFIG_NAME,),
        (LEASE_NAME,),
        (HUB_LEASE_NAME,),
        *OWN_SECRETS,
    }


def test_the_names_are_those_the_manager_uses_by_default() -> None:
    options = ManagerOptions()
    assert (options.config_namespace, options.config_name) == (OPERATOR_NAMESPACE, CONFIG_NAME)
    assert LeaderOptions().name == LEASE_NAME


# The rights as the API server reads them.


def rights(rules: Iterable[ReadOnlyObject]) -> Iterator[tuple[str, str, str, str]]:
    """Verb, group, resource and name. The empty name means any name."""
    for rule in rules:
        names = rule.get("resourceNames") or [""]
        yield from product(rule["verbs"], rule["apiGroups"], rule["resources"], names)


def held_everywhere() -> set[tuple[str, str, str, str]]:
    objects = list(operator_objects())
    bound = {obj["roleRef"]["name"] for obj in objects if obj["kind"] == "ClusterRoleBinding"}
    roles = [obj for obj in objects if obj["kind"] == "ClusterRole" and obj["metadata"]["name"] in bound]
    return {right for role in roles for right in rights(role.get("rules") or ())}


def is_held(right: tuple[str, str, str, str]) -> bool:
    return right in held_everywhere() or (*right[:3], "") in held_everywhere()


def test_the_operator_holds_all_that_it_hands_to_a_run() -> None:
    run = {"metadata": {"name": "one", "namespace": "team", "uid": "u"}}
    assert all(map(is_held, rights(runner.role(run, [])["rules"])))


def test_the_operator_holds_all_that_it_hands_to_a_listener() -> None:
    assert all(map(is_held, rights(impulse_rules("hook"))))


@pytest.mark.parametrize("kind", ["configmaps", "secrets"])
def test_the_operator_holds_all_that_an_engram_may_ask_for(kind: str) -> None:
    rule = {"apiGroups": [""], "resources": [kind], "verbs": ["get"], "resourceNames": ["settings"]}
    kept = runner_rules.extra_rules({}, {"spec": {"overrides": {"rbac": {"rules": [rule]}}}})
    assert kept == [rule]
    assert all(map(is_held, rights([rule])))


@pytest.mark.parametrize(("resource", "verbs"), runner_rules.OWN_OBJECT.items())
def test_the_operator_holds_all_that_an_impulse_may_ask_for_on_itself(resource: str, verbs: tuple[str, ...]) -> None:
    rule = {
        "apiGroups": ["bubustack.io"],
        "resources": [resource],
        "verbs": list(verbs),
        "resourceNames": ["hook"],
    }
    itself = {"metadata": {"name": "hook"}, "spec": {"execution": {"rbac": {"rules": [rule]}}}}
    assert runner_rules.extra_rules_of_impulse({}, itself) == ([rule], [])
    assert all(map(is_held, rights([rule])))


def test_every_role_is_bound_to_the_operators_account_and_to_nobody_else() -> None:
    there = Installation(namespace="flows", prefix="mine-")
    objects = list(operator_objects(there))
    bindings = [obj for obj in objects if obj["kind"].endswith("Binding")]
    assert len(bindings) == len(ROLE_TABLES) + 1
    for binding in bindings:
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "mine-controller-manager", "namespace": "flows"}
        ]
        role = (binding["roleRef"]["kind"], binding["roleRef"]["name"])
        assert role in {(obj["kind"], obj["metadata"]["name"]) for obj in objects}
    assert there.user == "system:serviceaccount:flows:mine-controller-manager"
    namespaces = {obj["metadata"]["namespace"] for obj in objects if "namespace" in obj["metadata"]}
    assert namespaces == {"flows"}


def test_the_rights_of_another_controller_come_with_its_row() -> None:
    rights = (Permission(NETWORK_POLICY, ("create",), "A server needs one."),)
    row = replace(story.CONTROLLER, name="server", informers=(WatchedKind(NETWORK_POLICY),), permissions=rights)
    tables = role_tables((*CONTROLLERS, row))
    rules = {obj["metadata"]["name"]: obj.get("rules", []) for obj in operator_objects(Installation(), tables)}
    before = {obj["metadata"]["name"]: obj.get("rules", []) for obj in operator_objects()}
    added = [rule for rule in rules["bobrapet-manager-role"] if rule not in before["bobrapet-manager-role"]]
    assert added == [
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list", "watch"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["create"]},
    ]
    others = before.keys() - {"bobrapet-manager-role"}
    assert all(rules[name] == before[name] for name in others)


def test_what_is_watched_can_be_listed_too() -> None:
    watched, listed = ({row.resource for _, row in ROWS if verb in row.verbs} for verb in ("watch", "list"))
    assert watched <= listed
