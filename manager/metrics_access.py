"""Who may read the metrics: the API server accepts the token, and RBAC allows its user ``get`` on ``/metrics``.

Answers are cached for a short time, so that scraping costs the API server little. Source: operator contract 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import trio

from core.api.resource import SUBJECT_ACCESS_REVIEW, TOKEN_REVIEW, Resource
from core.kube.client import KubeClient
from core.kube.errors import KubeError

REVIEW_DEADLINE_SECONDS: Final = 10.0
ALLOWED_FOR_SECONDS: Final = 60.0
DENIED_FOR_SECONDS: Final = 30.0
_MAX_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True)
class _Verdict:
    status: int
    until: float


class MetricsAccess:
    """Decides about a request; call it with the ``Authorization`` header."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: dict[str, _Verdict] = {}

    async def __call__(self, authorization: str) -> int:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return 401
        known = self._known.get(token)
        if known is not None and known.until > trio.current_time():
            return known.status
        try:
            with trio.fail_after(REVIEW_DEADLINE_SECONDS):
                status = await self._review(token.strip())
        except (KubeError, trio.TooSlowError):
            return 500
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        seconds = ALLOWED_FOR_SECONDS if status == 200 else DENIED_FOR_SECONDS
        self._known[token] = _Verdict(status, trio.current_time() + seconds)
        return status

    async def _review(self, token: str) -> int:
        review = await self._create(TOKEN_REVIEW, {"token": token})
        if not review.get("authenticated"):
            return 401
        user = review.get("user") or {}
        verdict = await self._create(
            SUBJECT_ACCESS_REVIEW,
            {
                "user": user.get("username", ""),
                "groups": user.get("groups") or [],
                "uid": user.get("uid", ""),
                "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
            },
        )
        return 200 if verdict.get("allowed") else 403

    async def _create(self, resource: Resource, spec: dict[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}
        answer = await self._client.create(resource, body)
        status: dict[str, Any] = answer.get("status") or {}
        return status
