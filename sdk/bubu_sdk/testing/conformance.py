"""Conformance suites for engrams: they check that a function keeps the contract, whatever it does.

    def test_main_conforms() -> None:
        check_batch(main, {"city": "Oslo"})

Source: SDK contract 22. The checks of status patches exist only in this SDK.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from bubu_sdk.errors import ErrorType, ExitClass, Object, validate_structured_error
from bubu_sdk.redaction import MAX_MESSAGE_BYTES
from bubu_sdk.signature import StepFunction
from bubu_sdk.testing.environment import EngramEnvironment, EngramOutcome

NEVER_SENT: Final = frozenset(
    {"conditions", "observedGeneration", "attempt", "failedAttempts", "trace", "handoff", "needs"}
    | {"nextRetryAt", "lastOutputAt"}
)
"""Status fields that belong to the operator."""
PLAIN: Final = "the error is a plain exception; raise an EngramError with a code and a message"
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class ConformanceError(AssertionError):
    """The engram broke the contract; lists all violations."""


def check_batch(
    work: StepFunction | Callable[..., Any],
    inputs: Mapping[str, Any] | None = None,
    *,
    expect_error: bool = False,
    require_structured_error: bool = False,
    validate_error: Callable[[Object], None] | None = None,
    validate_result: Callable[[Any], None] | None = None,
    environment: EngramEnvironment | None = None,
) -> EngramOutcome:
    """Run ``work`` once and check everything that the operator relies on.

    Args:
        expect_error: a success is the violation, not a failure.
        require_structured_error: the failure must have its own type, code or exit class; a plain exception is not
            enough.
        validate_error, validate_result: further checks; they get ``status.error`` and the output.
    Raises:
        ConformanceError: lists all violations.
    """
    outcome = (environment or EngramEnvironment()).run(work, inputs)
    problems = terminal_status_problems(outcome.status, outcome.exit_code)
    for patch in outcome.patches:
        problems += patch_problems(patch)
    failed = outcome.exit_code != 0
    if failed and not expect_error:
        problems.append(f"the engram failed: {outcome.status.get('lastFailureMsg') or outcome.logs}")
    if expect_error and not failed:
        problems.append("the engram succeeded; an error was expected")
    if expect_error and require_structured_error and failed and not is_structured(outcome.error):
        problems.append(PLAIN)
    if problems:
        raise ConformanceError("; ".join(problems))
    if failed and validate_error is not None:
        validate_error(outcome.error or {})
    if not failed and validate_result is not None:
        validate_result(outcome.output)
    return outcome


def terminal_status_problems(status: Object, exit_code: int) -> list[str]:
    """Problems of a terminal ``StepRun.status`` together with the exit code; empty if there are none."""
    problems = []
    expected = _expected(exit_code)
    for field, value in expected.items():
        if status.get(field) != value:
            problems.append(f"exit code {exit_code}: status.{field} is {status.get(field)!r}; expected {value!r}")
    if status.get("exitClass") not in tuple(ExitClass):
        problems.append(f"status.exitClass {status.get('exitClass')!r} must be one of {', '.join(ExitClass)}")
    if not _INSTANT.fullmatch(str(status.get("finishedAt", ""))):
        problems.append(f"status.finishedAt {status.get('finishedAt')!r} is not an instant in whole seconds, UTC")
    if exit_code == 0:
        if not isinstance(status.get("output"), dict):
            problems.append("a success must publish an output object, {} if it is empty")
        if status.get("error") is not None:
            problems.append("a success must have no error")
        return problems
    problems += [f"status.error: {problem}" for problem in validate_structured_error(status.get("error") or {})]
    if len(str(status.get("lastFailureMsg", "")).encode()) > MAX_MESSAGE_BYTES:
        problems.append(f"status.lastFailureMsg is longer than {MAX_MESSAGE_BYTES} bytes")
    return problems


def patch_problems(patch: Any) -> list[str]:
    """Problems of the body of one status patch; empty if there are none."""
    if isinstance(patch, list):
        fields = {operation["path"].split("/")[2] for operation in patch if operation["path"].startswith("/status/")}
        guarded = any(operation["path"] == "/metadata/resourceVersion" for operation in patch)
    else:
        fields = set(patch.get("status", {}))
        guarded = bool(patch.get("metadata", {}).get("resourceVersion"))
    problems = [
        f"the patch writes status.{field}, which belongs to the operator" for field in sorted(fields & NEVER_SENT)
    ]
    if not guarded:
        problems.append("the patch has no resourceVersion precondition")
    return problems


def is_structured(error: Object | None) -> bool:
    """Whether the error has its own type, code or exit class, as a plain exception has not."""
    if error is None:
        return False
    return (
        bool(error.get("code") or error.get("details"))
        or error.get("type") != ErrorType.EXECUTION
        or error.get("exitClass") != ExitClass.TERMINAL
    )


def _expected(exit_code: int) -> Object:
    if exit_code == 0:
        return {"phase": "Succeeded", "exitCode": 0, "exitClass": "success"}
    if exit_code == 124:
        return {"phase": "Timeout", "exitCode": 124, "exitClass": "retry"}
    return {"phase": "Failed", "exitCode": exit_code}
