"""The report itself: what it counts, and what it does not accept."""

from __future__ import annotations

from typing import Any

from core.api.permission import Permission
from core.api.resource import CONFIG_MAP, JOB
from deployment.permissions.table import Reach, RoleTable
from tests.e2e.permission_usage import report, usage

TABLE = RoleTable(
    "role",
    "binding",
    Reach.CLUSTER,
    "A test.",
    (
        Permission(JOB, ("create",), "Steps."),
        Permission(JOB, ("patch",), "Status.", subresource="status"),
        Permission(JOB, ("get",), "Races.", seldom="They are rare."),
        Permission(CONFIG_MAP, ("watch",), "Settings.", names=("mine",)),
    ),
)


def event(verb: str, plural: str, code: int = 200, *, user: str = "operator", **reference: str) -> dict[str, Any]:
    return {
        "verb": verb,
        "requestURI": f"/{plural}",
        "user": {"username": user},
        "responseStatus": {"code": code},
        "objectRef": {"resource": plural, **reference},
    }


def used(*events: dict[str, Any]) -> Any:
    return usage(events, [TABLE], of=lambda user: user == "operator")


def test_a_request_is_counted_for_the_row_that_allows_it() -> None:
    found = used(
        event("create", "jobs", 201, apiGroup="batch"),
        event("patch", "jobs", apiGroup="batch", subresource="status"),
        event("watch", "configmaps", name="mine"),
    )
    assert [str(right) for right in found.unused([TABLE])] == ["role: get batch/jobs"]
    assert (found.refused, found.unexplained) == ([], [])


def test_others_do_not_count() -> None:
    assert used(event("create", "jobs", apiGroup="batch", user="somebody")).requests.total() == 0


def test_what_was_refused_and_what_no_row_allows_is_told() -> None:
    found = used(
        event("create", "jobs", 403, apiGroup="batch"),
        event("create", "jobs", apiGroup="other"),
        event("patch", "jobs", apiGroup="batch"),
        event("watch", "configmaps", name="other"),
        event("list", "secrets", 401),
    )
    assert found.refused == ["create /jobs", "list /secrets"]
    assert found.unexplained == ["create /jobs", "patch /jobs", "watch /configmaps"]


def test_the_report_names_what_was_never_used_and_whether_there_is_a_reason() -> None:
    text = report(used(event("create", "jobs", 201, apiGroup="batch"), event("get", "x", 403)), [TABLE])
    assert text.splitlines() == [
        "     1 role: create batch/jobs",
        "     0 role: patch batch/jobs/status   never used: WITHOUT A REASON",
        "     0 role: get batch/jobs   never used: They are rare.",
        "     0 role: watch core/configmaps named mine   never used: WITHOUT A REASON",
        "REFUSED get /x",
    ]
