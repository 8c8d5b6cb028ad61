"""Whether an object may be stored, and in which form: the pure core of admission, the same in every process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from core.api import named_kinds
from core.engine.clock import system_now
from webhooks.caller import Caller, is_beside
from webhooks.cluster_view import ClusterView
from webhooks.defaults.admission import with_defaults
from webhooks.defaults.created import with_created_mark
from webhooks.defaults.decided import with_authors
from webhooks.finding import CauseType, Finding, Rule, Severity, errors_among
from webhooks.patch import Operation, difference
from webhooks.registration import Hook
from webhooks.review import Review
from webhooks.validate import admission, author, change, dependency, expression, status
from webhooks.validate.carrier import ROUTE_UNKNOWN, UNDECLARED

TOO_COSTLY: Final = Rule("any/too-costly", "1.3")
"""A review that takes more time or memory than one review may take."""

_WITHIN: Final = frozenset(
    {dependency.NEED_UNKNOWN, dependency.REQUIRE_UNKNOWN, expression.STEP_UNKNOWN, UNDECLARED, ROUTE_UNKNOWN}
)
"""Rules about names that must be in the same object."""


@dataclass(frozen=True, slots=True)
class ReviewDecision:
    """``findings`` with an error refuse the object; ``patch`` is written into the object before it is stored."""

    findings: tuple[Finding, ...] = ()
    patch: tuple[Operation, ...] = ()

    @property
    def is_denial(self) -> bool:
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def may_change(self) -> bool:
        """Whether the only reason for the denial is that other objects are missing; they may arrive soon."""
        errors = errors_among(self.findings)
        return bool(errors) and all(
            error.rule.cause is CauseType.NOT_FOUND and error.rule not in _WITHIN for error in errors
        )


def prepare(hook: Hook, review: Review) -> None:
    """Build the models of the object's kind, which takes up to a tenth of a second once, so that ``decide`` need not.

    Defaults and statuses are decided without them.
    """
    if hook.mutating or hook.subresource:
        return
    model = named_kinds.model_for(str(review.new.get("apiVersion")), str(review.new.get("kind")))
    if model is not None:
        model.model_rebuild()  # does nothing once it is built; otherwise the first validation would build it


def decide(
    hook: Hook, review: Review, world: ClusterView, operator: str, now: Callable[[], datetime] = system_now
) -> ReviewDecision:
    """The decision of the hook on the review; ``operator`` is the user name of the operator's account."""
    if not review.is_looked_at:
        return ReviewDecision()
    try:
        return _decide(hook, review, world, operator, now)
    except RecursionError:
        return ReviewDecision((admission.TOO_DEEP.at("", "is nested too deeply to be checked", "flatten it"),))


def too_costly(message: str) -> ReviewDecision:
    """A denial because the check would take too long."""
    return ReviewDecision((TOO_COSTLY.at("", message, "split it, or use fewer and shorter expressions"),))


def to_json(decision: ReviewDecision) -> dict[str, Any]:
    """The decision as JSON, for another process."""
    findings = [[found.rule.id, found.path, found.message, found.remedy, found.excerpt] for found in decision.findings]
    return {"findings": findings, "patch": decision.patch}


def from_json(value: dict[str, Any]) -> ReviewDecision:
    """The decision that was passed to ``to_json``."""
    from webhooks.validate.catalogue import RULES  # imports every validator

    rules = {rule.id: rule for rule in (*RULES, TOO_COSTLY)}
    findings: Sequence[list[str]] = value["findings"]
    return ReviewDecision(tuple(rules[rule].at(*arguments) for rule, *arguments in findings), tuple(value["patch"]))


def _decide(
    hook: Hook, review: Review, world: ClusterView, operator: str, now: Callable[[], datetime]
) -> ReviewDecision:
    caller = Caller(
        review.username,
        review.groups,
        review.username == operator,
        is_hub=is_beside(operator, review.username),
        pod=review.pod,
        pod_uid=review.pod_uid,
    )
    if hook.mutating:
        if change.is_deleted(review.new):
            return ReviewDecision()
        if hook.subresource:
            assert review.old is not None  # a write to a subresource always has an old object
            whole = with_authors(review.new, review.old, caller, now())
        else:
            whole = with_created_mark(with_defaults(review.new, world), now())
        return ReviewDecision(patch=tuple(difference(review.new, whole)))
    if hook.subresource:
        assert review.old is not None
        return ReviewDecision(tuple(status.validate(review.new, review.old, caller, world)))
    found = admission.validate(review.new, review.old, world)
    return ReviewDecision((*found, *author.validate(review.new, review.old, caller, world)))
