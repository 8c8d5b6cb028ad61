"""The user name of this process at the API server, so that admission recognises the operator's own writes."""

from __future__ import annotations

from typing import Final

import trio

from core.api.resource import SELF_SUBJECT_REVIEW
from core.kube.client import KubeClient
from core.kube.errors import KubeError
from core.kube.retry import Backoff

DEADLINE_SECONDS: Final = 15.0
"""How long the request is repeated while the API server does not answer it."""


async def own_user_name(client: KubeClient) -> str:
    """The user name that the API server gives this process. Every authenticated user may ask (system:basic-user).

    The request has no effect, so it is repeated after any error.

    Raises:
        KubeError: the error of the last try within ``DEADLINE_SECONDS``.
    """
    backoff = Backoff(0.1, 2.0)
    give_up_at = trio.current_time() + DEADLINE_SECONDS
    while True:
        try:
            answer = await client.create(SELF_SUBJECT_REVIEW, {})
        except KubeError:
            if trio.current_time() >= give_up_at:
                raise
            await trio.sleep(backoff.next_seconds())
        else:
            return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")
