"""As whom this process asks the API server, so that its own writes are known at the gate."""

from __future__ import annotations

from core.api.resource import SELF_SUBJECT_REVIEW
from core.kube.client import KubeClient


async def own_user_name(client: KubeClient) -> str:
    """The user name that the API server gives us. Every authenticated user may ask (system:basic-user).

    Raises:
        KubeError: the server did not answer, or refuses to.
    """
    answer = await client.create(SELF_SUBJECT_REVIEW, {})
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")
