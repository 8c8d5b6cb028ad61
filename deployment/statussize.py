"""How much a container may write into the status of its step: policy ``status-size``.

A status is read by the operator, by the garbage collector, by everybody who lists StepRuns. The gate counts bytes and
values exactly (``webhooks.validate.status``), but such writes pass while nobody answers there. CEL has no recursion and
no size of a JSON text, so a walk is written out, level by level: each value is looked at once, the deepest must hold no
others, each list and object has a bounded number of members and each text a bounded length. How many values there are
together is bounded by the cost that an API server allows one expression: beyond it the evaluation fails, and with it
the request, because the policy's failure policy is Fail.
"""

from __future__ import annotations

from typing import Final

from core.api.resource import STEP_RUN
from core.api.sizes import MAX_STEP_STATUS_BYTES, MAX_STEP_STATUS_DEPTH, MAX_STEP_STATUS_VALUES
from deployment.condition import Condition, not_by_operator
from deployment.policy import UPDATE, Check, Policy
from manager.permissions.roles import Installation
from webhooks.validate import status

_CHANGED: Final = Condition(
    "status-is-new", "has(object.status) && (!has(oldObject.status) || object.status != oldObject.status)"
)


def policy(installation: Installation) -> Policy:
    """The operator is exempt: it is the one who deletes what is too large."""
    return Policy(
        "status-size",
        "What a step reports is small enough to be read by everybody.",
        (
            Check(
                STEP_RUN,
                _walk(),
                "status: is larger or deeper than can be read (report less, or put large data into storage)",
                (status.SIZE.id,),
                (UPDATE,),
            ),
        ),
        (_CHANGED, not_by_operator(installation)),
        {"status": "dyn(object.status)"},
        subresource="status",
    )


def _walk() -> str:
    """True when every value within is within bounds. ``v0`` is a member of the status, ``v1`` a member of that."""
    deepest = f"v{MAX_STEP_STATUS_DEPTH - 1}"
    expression = f"type({deepest}) != map && type({deepest}) != list"
    for level in reversed(range(MAX_STEP_STATUS_DEPTH - 1)):
        value, inner = f"v{level}", f"v{level + 1}"
        members = f"(type({value}) == map ? {value}.map(k, {value}[k]) : type({value}) == list ? {value} : [])"
        text = f"type({value}) != string || size({value}) <= {MAX_STEP_STATUS_BYTES}"
        count = f"type({value}) != map && type({value}) != list || size({value}) <= {MAX_STEP_STATUS_VALUES}"
        expression = f"({text}) && ({count}) && {members}.all({inner}, {expression})"
    return f"variables.status.map(k, variables.status[k]).all(v0, {expression})"
