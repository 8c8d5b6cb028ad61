from __future__ import annotations

from cli.doctor.access import Wanted
from cli.doctor.operator_permissions import diagnose, wanted_of
from deployment.packaged import Packaged, packaged
from deployment.permissions.names import DEFAULT_INSTALLATION, Installation
from views.doctor.diagnosis import Health


def test_all_permissions_of_the_operators_roles_are_asked_for() -> None:
    wanted = wanted_of(packaged(Packaged.PERMISSIONS), DEFAULT_INSTALLATION)

    assert Wanted("list", "bubustack.io", "stories") in wanted
    assert Wanted("patch", "bubustack.io", "stories/status") in wanted
    assert Wanted("create", "coordination.k8s.io", "leases", "bobrapet-system") in wanted
    assert Wanted("get", "", "", "") not in wanted
    assert not any(each.resource == "" for each in wanted)


def test_names_have_the_prefix_of_the_installation() -> None:
    wanted = wanted_of(packaged(Packaged.PERMISSIONS), Installation("elsewhere", "mine-"))

    names = {each.name for each in wanted if each.resource == "configmaps" and each.name}
    assert "mine-operator-config" in names
    assert {each.namespace for each in wanted} == {"", "elsewhere"}


def test_a_missing_permission_is_a_problem_that_is_named() -> None:
    found = diagnose([Wanted("create", "batch", "jobs")], 9, "operator")

    assert found.health is Health.PROBLEM
    assert found.text == "operator may not create jobs.batch"


def test_the_answer_of_a_subresource_names_it() -> None:
    assert str(Wanted("get", "", "pods/log")) == "get pods/log"
