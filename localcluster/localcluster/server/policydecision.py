"""What a policy says about one request: nothing, or refusals in the words of kube-apiserver.

Pure. Source: kube-apiserver's validator of admission policies. Not here: which policies match, and their parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from localcluster.server import errors
from localcluster.server.policycel import Scope
from localcluster.server.policyconfig import DEFAULT_REASON, AdmissionPolicy, PolicyBinding, PolicyValidation
from localcluster.server.rules_cel import CelEvaluationError
from localcluster.server.writeport import AdmissionRequest

MAX_MESSAGE_BYTES: Final = 5 * 1024
"""A longer text of a ``messageExpression`` is not used."""

_CODES: Final = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}


@dataclass(frozen=True)
class Refusal:
    """Why a policy refuses a request."""

    message: str
    reason: str = DEFAULT_REASON


def refusals(policy: AdmissionPolicy, scope: Scope) -> list[Refusal]:
    """Every validation that fails. An expression without a value counts as a failure, unless the policy ignores it."""
    if policy.conditions:
        failures: list[str] = []
        for condition in policy.conditions:
            try:
                if not scope.holds(condition):
                    return []
            except CelEvaluationError as error:
                failures.append(_failed(condition.source, error))
        if failures:
            text = failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]"
            return [] if policy.fails_open else [Refusal(text)]
    return list(_failures(policy, scope))


def _failures(policy: AdmissionPolicy, scope: Scope) -> Iterator[Refusal]:
    for validation in policy.validations:
        try:
            if not scope.holds(validation.expression):
                yield Refusal(_message(validation, scope), validation.reason)
        except CelEvaluationError as error:
            if not policy.fails_open:
                yield Refusal(_failed(validation.expression.source, error))


def denial(
    policy: AdmissionPolicy, binding: PolicyBinding | None, why: Refusal, request: AdmissionRequest
) -> Exception:
    """The refusal for the client. ``binding`` is None if the policy itself cannot be used."""
    bound = f" with binding '{binding.name}'" if binding is not None else ""
    message = f"ValidatingAdmissionPolicy '{policy.name}'{bound} denied request: {why.message}"
    resource = request.resource
    metadata = (request.obj or {}).get("metadata") or {}
    name = request.name or metadata.get("name") or metadata.get("generateName") or ""
    status = errors.forbidden(resource.group, resource.plural, name, message).status
    details = {**status["details"], "causes": [{"message": message}]}
    return errors.StatusError({**status, "reason": why.reason, "code": _CODES[why.reason], "details": details})


def warning(policy: AdmissionPolicy, binding: PolicyBinding, why: Refusal) -> str:
    """The warning for the client, instead of a refusal."""
    return (
        f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding '{binding.name}': {why.message}"
    )


def _message(validation: PolicyValidation, scope: Scope) -> str:
    if validation.message_expression is not None:
        text = (scope.text(validation.message_expression) or "").strip()
        if text and "\n" not in text and len(text.encode()) <= MAX_MESSAGE_BYTES:
            return text
    return validation.message or f"failed expression: {validation.expression.source.strip()}"


def _failed(source: str, error: CelEvaluationError) -> str:
    return f"expression '{source}' resulted in error: {error}"
