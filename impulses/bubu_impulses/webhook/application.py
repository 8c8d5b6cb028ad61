"""What a webhook Impulse answers. One accepted request is one StoryTrigger, stored before the answer is sent.

POST <path>            202 accepted, 4xx with the reason, 429 throttled, 503 try again
GET /triggers/<name>   200 with the decision, 404; authenticated as events are
GET /healthz, /readyz  200; the second one 503 after SIGTERM; these two also on the port of the probes
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from bubu_contract.submission import MAX_KEY_CHARACTERS
from bubu_impulses.webhook import checking
from bubu_impulses.webhook.authentication import UnauthenticatedError
from bubu_impulses.webhook.checking import BodyError
from bubu_impulses.webhook.config import HEALTH_PATH, READY_PATH, TRIGGERS_PATH, Settings
from bubu_impulses.webhook.messages import Request, Response, answer, refusal
from bubu_sdk import (
    EngramError,
    TriggerConflictError,
    TriggerDecision,
    TriggerMissingError,
    TriggerThrottledError,
)
from bubu_sdk.errors import StorageError
from bubu_sdk.text_template import TemplateDataError

RETRY_SECONDS: Final = 5
"""What a sender is asked to wait while the cluster does not answer."""


class Acceptor(Protocol):
    """The part of an ``AsyncImpulseContext`` that is needed."""

    async def accept(
        self,
        story: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
        *,
        patience_seconds: float | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> TriggerDecision: ...

    async def decision(self, trigger: str) -> TriggerDecision: ...


class Webhook:
    """Answers requests."""

    def __init__(
        self,
        settings: Settings,
        acceptor: Acceptor,
        log: logging.Logger,
        is_ending: Callable[[], bool],
        now: Callable[[], float] = time.time,
        impulse: str = "",
    ) -> None:
        """
        Args:
            now: gives the seconds since 1970.
            impulse: its name. Impulses of one Story share keys, and each starts a run for the same event.
        """
        self._settings = settings
        self._acceptor = acceptor
        self._log = log
        self._is_ending = is_ending
        self._now = now
        self._before_default_key = f"{impulse}:" if impulse else ""

    async def handle(self, request: Request) -> Response:
        """The answer; errors are answers, too."""
        if (refused := self.admit(request)) is not None:
            return refused
        return self._noted(request, await self._routed(request))

    def admit(self, request: Request) -> Response | None:
        """The answer to a request that is refused whatever its body is, which need not be read yet."""
        refused = self._refusal(request)
        return None if refused is None else self._noted(request, refused)

    async def probe(self, request: Request) -> Response:
        """The answer on the port of the probes."""
        if request.path not in (HEALTH_PATH, READY_PATH):
            return refusal(404, "NotFound", "only probes are served here")
        return _only("GET", request) or self._health(request.path)

    def _noted(self, request: Request, response: Response) -> Response:
        if response.status >= 400 and request.path not in (HEALTH_PATH, READY_PATH):
            self._log.info("refused", extra={"status": response.status, "path": request.path})
        return response

    def _refusal(self, request: Request) -> Response | None:
        path = request.path
        if path in (HEALTH_PATH, READY_PATH):
            return _only("GET", request)
        is_event = path == self._settings.path
        if not is_event and not path.startswith(TRIGGERS_PATH):
            return refusal(404, "NotFound", f"nothing is served at {path}")
        if wrong := _only("POST" if is_event else "GET", request):
            return wrong
        try:
            self._settings.authentication.check_head(request, self._now())
        except UnauthenticatedError as error:
            return refusal(401, error.reason, str(error))
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if is_event and kind != "application/json" and not kind.endswith("+json"):
            return refusal(415, "NotJson", f"the content type must be application/json, not {kind}")
        return None

    async def _routed(self, request: Request) -> Response:
        path = request.path
        if path in (HEALTH_PATH, READY_PATH):
            return self._health(path)
        try:
            self._settings.authentication.check(request, self._now())
            if path == self._settings.path:
                return await self._event(request)
            return _decided(200, await self._acceptor.decision(path.removeprefix(TRIGGERS_PATH)))
        except UnauthenticatedError as error:
            return refusal(401, error.reason, str(error))
        except EngramError as error:
            return self._failed(error)

    def _health(self, path: str) -> Response:
        return Response(503 if path == READY_PATH and self._is_ending() else 200)

    async def _event(self, request: Request) -> Response:
        settings = self._settings
        try:
            body = checking.parsed(request.body)
            if (challenge := settings.authentication.challenge(body)) is not None:
                return answer(200, {"challenge": challenge})
            if settings.schema is not None:
                settings.schema.check(body)
            roots = {"body": body, "headers": settings.authentication.without_credentials(request.headers)}
            key = self._key(request, roots)
            inputs = body if settings.inputs is None else settings.inputs.fill(roots)
        except BodyError as error:
            return refusal(400, "InvalidBody", str(error))
        except TemplateDataError as error:
            return refusal(400, "MissingValue", str(error))
        if not isinstance(inputs, dict):
            return refusal(400, "InvalidBody", "the body must be an object")
        decision = await self._acceptor.accept(
            None, inputs, key, patience_seconds=settings.patience_seconds, trace=request.headers
        )
        fields = {"trigger": decision.trigger, "repeated": decision.existed}
        self._log.info("accepted", extra=fields)
        return _decided(202, decision)

    def _key(self, request: Request, roots: Mapping[str, Any]) -> str | None:
        settings = self._settings
        if settings.key is not None:
            key = settings.key.render(roots).strip()
        elif settings.key_header:
            key = str(roots["headers"].get(settings.key_header, "")).strip()
        elif settings.has_default_key and (default := settings.authentication.default_key(request)) is not None:
            key = self._before_default_key + default
        else:
            return None
        if not key:
            raise TemplateDataError(f"the key is missing: {settings.key_header or 'the template gives a blank string'}")
        return key if len(key) <= MAX_KEY_CHARACTERS else hashlib.sha256(key.encode(errors="replace")).hexdigest()

    def _failed(self, error: EngramError) -> Response:
        """The answer for an event that was not accepted; details of the cluster go to the log only."""
        if isinstance(error, TriggerConflictError):
            return refusal(409, "Conflict", "an earlier event with the same key had another content")
        if isinstance(error, TriggerThrottledError):
            seconds = str(max(1, math.ceil(error.retry_after_seconds)))
            return refusal(429, "Throttled", "too many events", ("Retry-After", seconds))
        if isinstance(error, TriggerMissingError):
            return refusal(404, "NotFound", "there is no such trigger")
        self._log.error("not accepted: %s", error)
        if error.retryable:
            again = ("Retry-After", str(RETRY_SECONDS))
            return refusal(503, "Unavailable", "the event could not be stored; send it again", again)
        if isinstance(error, StorageError):
            return refusal(413, "TooLarge", "the inputs are larger than this Impulse can store")
        return refusal(422, "Refused", "the cluster refused the event; see the log of the Impulse")


def _only(method: str, request: Request) -> Response | None:
    if request.method == method:
        return None
    return refusal(405, "MethodNotAllowed", f"use {method}", ("Allow", method))


def _decided(status: int, decision: TriggerDecision) -> Response:
    link = f"{TRIGGERS_PATH}{decision.trigger}"
    content = {
        "trigger": decision.trigger,
        "namespace": decision.namespace,
        "decision": str(decision.outcome),
        "storyRun": decision.story_run,
        "reason": decision.reason,
        "message": decision.message,
        "status": link,
    }
    return answer(status, content, ("Location", link)) if status == 202 else answer(status, content)
