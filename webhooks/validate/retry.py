"""Retry policies: their delays, the failures that they name, and policies that have no effect.

Source: admission contract 3.11. ``core.policy`` applies the same rules when a step runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.api.objects import ReadOnlyObject
from core.api.phases import ErrorType
from core.policy.retry import ANY, TRANSIENT, retry_on_problems
from core.workloads.script import is_script
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import Finding, Rule, Severity
from webhooks.validate import duration
from webhooks.validate.change import fields_of

FAILURES: Final = Rule("definition/retry-on", "3.11")
UNUSED: Final = Rule("definition/retry-unused", "3.11", severity=Severity.WARNING)

_DELAYS: Final = ("delay", "maxDelay")
_OF_EVERY_CONTAINER: Final = (TRANSIENT, ANY, ErrorType.TIMEOUT)
_RETRIED_CODES: Final = ("retry", "rateLimited")


def check(rule: Rule, retry: ReadOnlyObject | None, path: str, world: ClusterView) -> Iterator[Finding]:
    """Findings about a retry policy at ``path``; ``rule`` is that of its delays."""
    if retry is None:
        return
    for key in _DELAYS:
        yield from duration.check(rule, retry, key, path, zero=True)
    yield from check_failures(retry.get("retryOn"), f"{path}.retryOn")
    if _most(retry, world) == 0 and retry.get("retryOn"):
        yield UNUSED.at(f"{path}.retryOn", "has no effect: maxRetries is 0", "raise maxRetries, or remove retryOn")


def check_failures(entries: Any, path: str) -> Iterator[Finding]:
    """Findings about a list of failures that are retried."""
    for each in retry_on_problems(entries or (), path):
        yield FAILURES.at(each.path, each.message, each.remedy)


def check_unread(block: object, path: str) -> Iterator[Finding]:
    """A finding about a retry policy in a block of execution settings whose retry policy nobody reads."""
    if fields_of(block).get("retry") is not None:
        remedy = "move it to the Story: execution.retry of a step, or policy.retries.stepRetryPolicy"
        yield UNUSED.at(f"{path}.retry", "has no effect: only Stories and EngramTemplates have retry policies", remedy)


def check_effect(
    step: ReadOnlyObject, path: str, template: ReadOnlyObject | Unseen, world: ClusterView
) -> Iterator[Finding]:
    """Findings about what the retry policy of a step at ``path`` cannot do; ``template``: that of its Engram."""
    retry, path = (step.get("execution") or {}).get("retry"), f"{path}.execution.retry"
    if retry is None or _most(retry, world) == 0:  # admission writes 0 into every step with side effects
        return
    entries = retry.get("retryOn")
    if step.get("type"):
        yield UNUSED.at(path, f"has no effect: a step of type {step['type']} has no attempts", "remove it")
        return
    described = {} if isinstance(template, Unseen) else fields_of(template.get("spec"))
    container = {} if is_script(step) else described.get("container")
    if not isinstance(container, Mapping):
        return
    if entries is None:
        codes = fields_of(container.get("exitCodes"))
        recommended = fields_of(fields_of(described.get("execution")).get("retry"))
        if not recommended.get("recommendedRetryOn") and not any(codes.get(key) for key in _RETRIED_CODES):
            message = "does not cover exit code 1: only a lost Pod, a timeout and exit codes from 128 are retried"
            yield UNUSED.at(path, message, f"add retryOn: [{ANY}], or exit codes: retryOn: [{TRANSIENT}, 1]")
    for index, entry in enumerate(entries or ()):
        if isinstance(entry, str) and entry not in _OF_EVERY_CONTAINER:
            message = f"{entry} has no effect: a container without an SDK reports no errors"
            yield UNUSED.at(f"{path}.retryOn[{index}]", message, f"use exit codes, or {ANY}")


def _most(retry: ReadOnlyObject, world: ClusterView) -> int:
    """``maxRetries``, or what admission writes instead of it."""
    given = retry.get("maxRetries")
    return world.settings.max_retries if given is None else int(given)
