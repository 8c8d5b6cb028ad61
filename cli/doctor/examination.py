"""Runs all checks at once, each with a deadline, so that the answer comes even where an API server hangs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import trio

from cli.doctor import (
    admission,
    api_server,
    certificates,
    conversion,
    definitions,
    hub,
    leftovers,
    operator,
    operator_permissions,
    own_permissions,
    policies,
    quota,
    runs,
    settings,
    store,
    webhooks,
)
from cli.doctor.context import DoctorContext
from core.kube.errors import ForbiddenError, KubeError, NotServedError, UnauthorizedError
from views.doctor.diagnosis import CheckResult, Diagnosis, problem, skipped, warning

FIRST_SECONDS: Final = 3.0
"""For the first answer of the API server; without one there are no other checks."""
CHECK_SECONDS: Final = 5.5
"""For all others, which run at the same time."""
_SLOW: Final = "look at the API server and the network; a second attempt may help"


class NamedCheck(NamedTuple):
    name: str
    examine: Callable[[DoctorContext], Awaitable[list[Diagnosis]]]


_API_SERVER: Final = NamedCheck("api-server", api_server.examine)
CHECKS: Final = (
    NamedCheck("your-permissions", own_permissions.examine),
    NamedCheck("definitions", definitions.examine),
    NamedCheck("operator", operator.examine),
    NamedCheck("lease", operator.examine_lease),
    NamedCheck("operator-permissions", operator_permissions.examine),
    NamedCheck("configuration", settings.examine),
    NamedCheck("webhooks", webhooks.examine),
    NamedCheck("certificates", certificates.examine),
    NamedCheck("admission", admission.examine),
    NamedCheck("conversion", conversion.examine),
    NamedCheck("policies", policies.examine),
    NamedCheck("hub", hub.examine),
    NamedCheck("object-store", store.examine),
    NamedCheck("quota", quota.examine),
    NamedCheck("runs", runs.examine),
    NamedCheck("leftovers", leftovers.examine),
)
"""In the order of the output: what others depend on comes first."""


async def examine(
    context: DoctorContext, checks: Sequence[NamedCheck] = CHECKS, patience: float = 1.0
) -> list[CheckResult]:
    """The results of all checks, in their order. It takes at most ``FIRST_SECONDS`` and ``CHECK_SECONDS``.

    Args:
        patience: a factor for both times.
    """
    check_seconds = CHECK_SECONDS * patience
    first = await _result(_API_SERVER, context, FIRST_SECONDS * patience)
    if not first.answers:
        return [
            first.result,
            *(CheckResult(each.name, (skipped("the API server does not answer"),)) for each in checks),
        ]
    attempts: dict[str, _Attempt] = {}

    async def run(check: NamedCheck) -> None:
        attempts[check.name] = await _result(check, context, check_seconds)

    async with trio.open_nursery() as nursery:
        for check in checks:
            nursery.start_soon(run, check)
    results = [first.result, *(attempts[check.name].result for check in checks)]
    late = sum(attempt.is_late for attempt in attempts.values())
    if late * 2 <= len(checks):
        return results
    text = f"{late} of {len(checks)} checks had no answer within {check_seconds:g} s"
    return [replace(first.result, diagnoses=(*first.result.diagnoses, problem(text, _SLOW))), *results[1:]]


class _Attempt(NamedTuple):
    result: CheckResult
    answers: bool
    """Whether the server has answered in a way that other checks can build on."""
    is_late: bool = False


async def _result(check: NamedCheck, context: DoctorContext, seconds: float) -> _Attempt:
    with trio.move_on_after(seconds):
        try:
            return _Attempt(CheckResult(check.name, tuple(await check.examine(context))), True)
        except Exception as error:  # noqa: BLE001 - one damaged object must not hide what the other checks find
            return _Attempt(CheckResult(check.name, (_of_error(error),)), False)
    if check is _API_SERVER:
        found = problem(f"the API server did not answer within {seconds:g} s", _SLOW)
    else:
        found = warning(f"not finished within {seconds:g} s", _SLOW)  # there may be much to look at
    return _Attempt(CheckResult(check.name, (found,)), False, is_late=True)


def _of_error(error: BaseException) -> Diagnosis:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case _ if not isinstance(error, KubeError):
            return problem(
                f"the check has failed: {type(error).__name__}: {error}", "this is a bug in bobrapet; please report it"
            )
        case UnauthorizedError():
            return problem(f"the API server does not know you: {error}", "renew the credentials of the kubeconfig")
        case ForbiddenError():
            return skipped(f"you may not read {_subject(error)}")
        case NotServedError():
            return skipped("the cluster does not serve a kind that this check looks at")
        case _:
            return problem(f"the API server gave no usable answer: {error}", "look at the API server and the network")


def _subject(error: ForbiddenError) -> str:
    """The kind that the answer is about, as ``plural.group``."""
    kind, group = error.details.get("kind"), error.details.get("group")
    return f"{kind}.{group}" if kind and group else str(kind or error.message)
