"""How the blocking code of the SDK reaches the API server of a test: through the client of the test."""

from __future__ import annotations

import urllib.parse
from typing import Any

import trio

from bubu_contract import canonical
from bubu_sdk.errors import Object
from bubu_sdk.kube import status_error
from core.kube.client import KubeClient
from core.kube.errors import ApiError
from core.kube.transport import ApiCall


class BlockingCluster:
    """The SDK's view of the server, for its threads. Opened in a task of Trio."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._token = trio.lowlevel.current_trio_token()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout_seconds: float = 30.0,
    ) -> Object:
        """``bubu_sdk.kube.Cluster``."""
        del timeout_seconds
        bare, _, query = path.partition("?")
        call = ApiCall(
            method.lower(),
            method,
            bare,
            params=tuple(urllib.parse.parse_qsl(query)),
            body=None if body is None else canonical.encode(body),
            content_type=content_type,
        )

        async def send() -> Object:
            try:
                return await self._client.answer(call)
            except ApiError as error:
                raise status_error(error.code, str(error)) from error

        return trio.from_thread.run(send, trio_token=self._token)
