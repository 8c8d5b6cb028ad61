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

from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from webhooks import document
from webhooks.limits import DEFAULT_LIMITS, ReviewLimits
from webhooks.registration import CONVERT_PATH, HOOKS, Hook
from webhooks.request_limits import Application, RequestLimits
from webhooks.reviewer import Reviewer, UnansweredError, denial_of_unreadable
from webhooks.setup import AdmissionSetup

_JSON: Final = "application/json"
_SMALL_BYTES: Final = 64 << 10
"""Largest ConversionReview that is converted on the event loop."""

_REVIEW_PATHS: Final = frozenset(hook.path for hook in HOOKS)

_log = get_logger("webhook")


def admission_app(setup: AdmissionSetup, limits: ReviewLimits = DEFAULT_LIMITS) -> QuartTrio:
    """An ASGI application; while it is served with its lifespan, it keeps a process for large reviews ready."""
    app = QuartTrio(__name__, static_folder=None, template_folder=None)
    reviewer = Reviewer(setup, limits)
    for hook in HOOKS:
        _route(app, hook.path, partial(_answer_review, hook, reviewer))
    threads = trio.CapacityLimiter(1)
    _route(app, CONVERT_PATH, partial(_answer_conversion, setup, limits, threads))
    _add_health(app, setup)
    app.register_error_handler(HTTPException, _answer_http_error)
    limited = RequestLimits(cast("Application", app.asgi_app), limits, denials=(_REVIEW_PATHS, denial_of_unreadable))
    app.asgi_app = limited  # type: ignore[method-assign, assignment]  # the way to wrap an application of this library

    @app.before_serving
    async def keep_warm() -> None:
        app.nursery.start_soon(reviewer.executor.keep_warm)

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


async def _answer_review(hook: Hook, reviewer: Reviewer, raw: bytes) -> Response:
    try:
        return _json_text(await reviewer.answer(hook, raw))
    except UnansweredError as error:
        return _text(error.status, str(error), retry=error.may_be_repeated)


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


def _json_text(body: bytes) -> Response:
    return Response(body, 200, content_type=_JSON)


def _text(status: int, sentence: str, *, retry: bool = False) -> Response:
    response = Response(f"{sentence}\n", status, content_type="text/plain; charset=utf-8")
    if retry:
        response.headers["Retry-After"] = "1"
    return response
