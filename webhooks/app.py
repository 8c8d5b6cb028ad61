"""The HTTP application of the admission server: every webhook of the table, conversion, health.

A body that cannot be read at all is answered with one sentence and a 4xx status; a review is answered with a review.
After a 5xx or a 429 the API server acts on the webhook's ``failurePolicy``.
Source: admission contract 1; docs/admission-webhooks.md.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

import orjson
import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from core.fairness.turns import CrowdedError
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from webhooks import document, review
from webhooks.decision import ReviewDecision
from webhooks.document import UnreadableError
from webhooks.finding import errors_among
from webhooks.limits import DEFAULT_LIMITS, ReviewLimits
from webhooks.registration import CONVERT_PATH, HOOKS, Hook
from webhooks.request_limits import CROWDED, Application, RequestLimits
from webhooks.review import MisfitError, NoReviewError, Review
from webhooks.review_executor import ReviewExecutor, ReviewRequest, ReviewUnavailableError
from webhooks.setup import AdmissionSetup
from webhooks.validate.change import metadata_of

_JSON: Final = "application/json"
_SMALL_BYTES: Final = 64 << 10
"""Largest ConversionReview that is converted on the event loop."""
_LOGGED_RULES: Final = 20

_REVIEW_PATHS: Final = frozenset(hook.path for hook in HOOKS)

_log = get_logger("webhook")


def admission_app(setup: AdmissionSetup, limits: ReviewLimits = DEFAULT_LIMITS) -> QuartTrio:
    """An ASGI application; while it is served with its lifespan, it keeps a process for large reviews ready."""
    app = QuartTrio(__name__, static_folder=None, template_folder=None)
    executor = ReviewExecutor(setup, limits)
    for hook in HOOKS:
        _route(app, hook.path, partial(_answer_review, hook, setup, limits, executor))
    threads = trio.CapacityLimiter(1)
    _route(app, CONVERT_PATH, partial(_answer_conversion, setup, limits, threads))
    _add_health(app, setup)
    app.register_error_handler(HTTPException, _answer_http_error)
    limited = RequestLimits(cast("Application", app.asgi_app), limits, denials=(_REVIEW_PATHS, denial_of_unreadable))
    app.asgi_app = limited  # type: ignore[method-assign, assignment]  # the way to wrap an application of this library

    @app.before_serving
    async def keep_warm() -> None:
        app.nursery.start_soon(executor.keep_warm)

    return app


def _route(app: QuartTrio, path: str, answer: Callable[[bytes], Awaitable[Response]]) -> None:
    """Serve POST on ``path``, count and time it; an unexpected error is logged, and the client sees no details."""
    metrics.set_gauge(catalogue.WEBHOOK_IN_FLIGHT, 0, webhook=path)

    async def serve() -> Response:
        began, status = time.perf_counter(), 500
        metrics.add_gauge(catalogue.WEBHOOK_IN_FLIGHT, 1, webhook=path)
        try:
            if request.mimetype != _JSON:
                response = _text(415, f"the body must be of content type {_JSON}")
            else:
                response = await answer(cast("bytes", await request.get_data()))
            status = response.status_code
            return response
        except Exception as error:  # noqa: BLE001 - the edge of a webhook request
            _log.error("a webhook failed", webhook=path, error=error)
            return _text(500, "the webhook failed; see the log of the operator")
        finally:
            metrics.add_gauge(catalogue.WEBHOOK_IN_FLIGHT, -1, webhook=path)
            metrics.count(catalogue.WEBHOOK_REQUESTS, webhook=path, code=str(status))
            metrics.observe(catalogue.WEBHOOK_LATENCY, time.perf_counter() - began, webhook=path)

    app.add_url_rule(path, path, serve, methods=["POST"], provide_automatic_options=False)


async def _answer_review(
    hook: Hook, setup: AdmissionSetup, limits: ReviewLimits, executor: ReviewExecutor, raw: bytes
) -> Response:
    trouble = setup.trouble()
    if trouble:
        return _unavailable(trouble)
    try:
        body = document.read(raw, limits.values)
        uid = review.uid_of(body)
    except UnreadableError as error:
        return _json_text(denial) if (denial := denial_of_unreadable(raw, str(error))) else _text(400, str(error))
    except NoReviewError as error:
        return _text(400, str(error))
    try:
        asked = review.review_of(body, hook)
    except MisfitError as error:
        _log.info("a review does not belong to this webhook", webhook=hook.path, why=str(error))
        return _json(review.misfit(uid, str(error)))
    try:
        decision = await executor.examine(ReviewRequest(hook, asked, raw))
    except CrowdedError:
        metrics.count(catalogue.WEBHOOK_SHED, reason="turns")
        return _text(429, CROWDED, retry=True)
    except ReviewUnavailableError as error:
        return _unavailable(str(error))
    return _json(_answer_of(hook, asked, decision))


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


async def _answer_conversion(
    setup: AdmissionSetup, limits: ReviewLimits, threads: trio.CapacityLimiter, raw: bytes
) -> Response:
    """Needs no other objects, so it answers before the caches are filled: API servers list our kinds through it."""
    most = max(limits.values, limits.convert_bytes // 8)
    convert = partial(_converted, setup.convert, raw, most)
    try:
        if len(raw) <= _SMALL_BYTES:
            return _json_text(convert())
        return _json_text(await trio.to_thread.run_sync(convert, limiter=threads))
    except ValueError as error:
        return _text(400, str(error))


def _converted(convert: Callable[[dict[str, Any]], dict[str, Any]], raw: bytes, most_values: int) -> bytes:
    return orjson.dumps(convert(document.read(raw, most_values)))


def _add_health(app: QuartTrio, setup: AdmissionSetup) -> None:
    async def healthz() -> Response:
        return _text(200, "ok")

    async def readyz() -> Response:
        trouble = setup.trouble()
        return _text(503, trouble) if trouble else _text(200, "ok")

    for path, view in (("/healthz", healthz), ("/readyz", readyz)):
        app.add_url_rule(path, path, view, methods=["GET"], provide_automatic_options=False)


async def _answer_http_error(error: HTTPException) -> Response:
    """The answer to an error of the router, or of reading a request."""
    code = error.code or 400
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        response = _text(code, f"use {allowed} on this path")
        response.headers["Allow"] = allowed
        return response
    return _text(code, "this path is not served" if code == 404 else error.name.lower())


def _unavailable(why: str) -> Response:
    return _text(503, f"reviews cannot be answered yet: {why}", retry=True)


def _json(body: dict[str, Any]) -> Response:
    return _json_text(orjson.dumps(body))


def _json_text(body: bytes) -> Response:
    return Response(body, 200, content_type=_JSON)


def _text(status: int, sentence: str, *, retry: bool = False) -> Response:
    response = Response(f"{sentence}\n", status, content_type="text/plain; charset=utf-8")
    if retry:
        response.headers["Retry-After"] = "1"
    return response
