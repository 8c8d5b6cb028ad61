"""Answers an AdmissionReview, from bytes to bytes, without a transport: the HTTP server and the embedded API server
call it.

Source: admission contract 1; docs/admission-webhooks.md.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from core.fairness.turns import CrowdedError
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from webhooks import document, review
from webhooks.decision import ReviewDecision
from webhooks.document import UnreadableError
from webhooks.finding import errors_among
from webhooks.limits import ReviewLimits
from webhooks.registration import Hook
from webhooks.request_limits import CROWDED
from webhooks.review import MisfitError, NoReviewError, Review
from webhooks.review_executor import ReviewExecutor, ReviewRequest, ReviewUnavailableError
from webhooks.setup import AdmissionSetup
from webhooks.validate.change import metadata_of

_LOGGED_RULES: Final = 20

_log = get_logger("webhook")


class UnansweredError(Exception):
    """There is no decision; the message is one sentence. ``status`` is its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

    @property
    def may_be_repeated(self) -> bool:
        """Whether the same review may get a decision a second later."""
        return self.status in (429, 503)


class Reviewer:
    """Answers reviews with the objects that ``setup`` knows."""

    def __init__(self, setup: AdmissionSetup, limits: ReviewLimits) -> None:
        self._setup = setup
        self._limits = limits
        self.executor: Final = ReviewExecutor(setup, limits)

    async def answer(self, hook: Hook, raw: bytes) -> bytes:
        """The review with its response, for a review that was sent to ``hook``.

        Raises:
            UnansweredError: 400, ``raw`` is not a review; 429, too many reviews wait; 503, not now.
        """
        trouble = self._setup.trouble()
        if trouble:
            raise _unavailable(trouble)
        try:
            body = document.read(raw, self._limits.values)
            uid = review.uid_of(body)
        except UnreadableError as error:
            if denial := denial_of_unreadable(raw, str(error)):
                return denial
            raise UnansweredError(400, str(error)) from None
        except NoReviewError as error:
            raise UnansweredError(400, str(error)) from None
        try:
            asked = review.review_of(body, hook)
        except MisfitError as error:
            _log.info("a review does not belong to this webhook", webhook=hook.path, why=str(error))
            return orjson.dumps(review.misfit(uid, str(error)))
        try:
            decision = await self.executor.examine(ReviewRequest(hook, asked, raw))
        except CrowdedError:
            metrics.count(catalogue.WEBHOOK_SHED, reason="turns")
            raise UnansweredError(429, CROWDED) from None
        except ReviewUnavailableError as error:
            raise _unavailable(str(error)) from None
        outcome = "denied" if decision.is_denial else "allowed"
        metrics.count(catalogue.ADMISSION_DECISIONS, webhook=hook.path, decision=outcome)
        return orjson.dumps(_answer_of(hook, asked, decision))


def denial_of_unreadable(raw: bytes, sentence: str) -> bytes | None:
    """The answer to a review that cannot be read and starts with ``raw``; None when it is not a review.

    It is a decision and not an error: with failure policy Ignore, API servers let a request pass after an error.
    """
    uid = review.uid_in(raw)
    if uid is None:
        return None
    _log.info("a review cannot be read and was denied", why=sentence)
    return orjson.dumps(review.unreadable(uid, sentence))


def _answer_of(hook: Hook, asked: Review, decision: ReviewDecision) -> dict[str, Any]:
    if not decision.is_denial:
        return review.allowed(asked.uid, decision.patch, decision.findings)
    rules = list(dict.fromkeys(finding.rule.id for finding in errors_among(decision.findings)))
    metadata = metadata_of(asked.new)
    _log.info(
        "an object was denied",
        webhook=hook.path,
        kind=hook.resource.kind,
        namespace=asked.namespace,
        name=metadata.get("name") or metadata.get("generateName") or "",
        operation=asked.operation,
        user=asked.username,
        rules=rules[:_LOGGED_RULES],
    )
    return review.denied(asked.uid, hook, asked.new, decision.findings)


def _unavailable(why: str) -> UnansweredError:
    return UnansweredError(503, f"reviews cannot be answered yet: {why}")
