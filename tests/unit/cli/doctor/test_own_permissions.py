from __future__ import annotations

from cli.doctor.own_permissions import diagnoses_of, wanted_in
from views.doctor.diagnosis import Health


def test_a_user_who_may_everything_is_told_so_once() -> None:
    (found,) = diagnoses_of([], "team", "")

    assert found.health is Health.OK


def test_missing_permissions_are_grouped_by_the_role_that_has_them() -> None:
    missing = [each for each in wanted_in("team") if each.verb in ("create", "patch")]

    edit, approve = diagnoses_of(missing, "team", "ann")

    assert edit.commands == ("kubectl create rolebinding ann-edit --clusterrole=edit --user=ann --namespace=team",)
    assert "create storyruns.runs.bubustack.io" in edit.text
    assert "--clusterrole=bobrapet-gate-approver-role" in approve.commands[0]
    assert "patch storyruns.runs.bubustack.io/status" in approve.text


def test_no_permission_is_asked_for_twice() -> None:
    wanted = wanted_in("team")

    assert len(wanted) == len(set(wanted))
