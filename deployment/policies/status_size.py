"""How much a container may write into the status of its step: policy ``status-size``.

The operator, the garbage collector and everybody who lists StepRuns read a status. The admission server counts bytes
and values exactly (``webhooks.validate.status``), but status writes pass while it is down. CEL has no recursion and
cannot compute the size of a value as JSON, so the walk is written out, level by level: each value is visited once, the
deepest must hold no others, each list and object has a bounded number of members and each string a bounded length. The
number of values in total is bounded by the cost limit of an expression: beyond it the evaluation fails, and the API
server refuses the request, because the policy's failure policy is Fail.
"""

from __future__ import annotations

from typing import Final

from core.api.resource import STEP_RUN
from core.api.sizes import MAX_STEP_STATUS_BYTES, MAX_STEP_STATUS_DEPTH, MAX_STEP_STATUS_VALUES
from deployment.permissions.roles import Installation
from deployment.policies.exemptions import MatchCondition, not_by_operator
from deployment.policies.policy import UPDATE, Check, Policy
from webhooks.validate import status

_CHANGED: Final = MatchCondition(
    "status-is-new", "has(object.status) && (!has(oldObject.status) || object.status != oldObject.status)"
)


def policy(installation: Installation) -> Policy:
    """The operator is exempt, because it deletes statuses that are too large."""
    return Policy(
        "status-size",
        "The status that a step reports has a limited size.",
        (
            Check(
                STEP_RUN,
                _walk(),
                "status: is too large or nested too deeply (report less, or put large data into storage)",
                (status.SIZE.id,),
                (UPDATE,),
            ),
        ),
        (_CHANGED, not_by_operator(installation)),
        {"status": "dyn(object.status)"},
        subresource="status",
    )


def _walk() -> str:
    """True if every value in the status is within bounds. ``v0`` is a member of the status, ``v1`` one of ``v0``."""
    deepest = f"v{MAX_STEP_STATUS_DEPTH - 1}"
    expression = f"type({deepest}) != map && type({deepest}) != list"
    for level in reversed(range(MAX_STEP_STATUS_DEPTH - 1)):
        value, inner = f"v{level}", f"v{level + 1}"
        members = f"(type({value}) == map ? {value}.map(k, {value}[k]) : type({value}) == list ? {value} : [])"
        text = f"type({value}) != string || size({value}) <= {MAX_STEP_STATUS_BYTES}"
        count = f"type({value}) != map && type({value}) != list || size({value}) <= {MAX_STEP_STATUS_VALUES}"
        expression = f"({text}) && ({count}) && {members}.all({inner}, {expression})"
    return f"variables.status.map(k, variables.status[k]).all(v0, {expression})"
