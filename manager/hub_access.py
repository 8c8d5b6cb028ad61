"""The access to the hub of streams: its endpoint, the key that signs tokens, and the authority of its certificate.

The key is in a Secret of the operator's namespace, which the operator creates when it is missing; the hub reads it from
there, too. The authority is in the Secret of the hub's certificate. Both are watched, because both are exchanged while
the operator runs.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final

import trio

from core.api.objects import Object
from core.api.resource import SECRET
from core.engine.wakeup import WakeUp
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, KubeError
from core.kube.informer import Change, Informer
from core.kube.retry import Backoff
from core.policy.settings import OperatorSettings
from core.telemetry.logs import get_logger
from core.workloads.hub_access import HUB_TLS_SECRET, HubAccess, default_endpoint, is_plaintext
from core.workloads.hub_key import HUB_KEY_SECRET, HubKeyError, hub_key_secret, keys_of_secret, new_hub_key

CA_ENTRY: Final = "ca.crt"
_RETRY_SECONDS: Final = (1.0, 30.0)

_LOG: Final = get_logger("transport")


class HubAccessSource:
    """``current()`` gives the access to the hub as it is now; None while a part of it is missing."""

    def __init__(
        self, client: KubeClient, namespace: str, settings: Callable[[], OperatorSettings], *, endpoint: str = ""
    ) -> None:
        """
        Args:
            namespace: the operator's.
            endpoint: of the hub that was installed or started with this operator, unless the settings name another.
        """
        self._client = client.for_itself()
        self._namespace = namespace
        self._settings = settings
        self._endpoint = endpoint
        self._key_secret = self._informer(HUB_KEY_SECRET)
        self._certificate = self._informer(HUB_TLS_SECRET)
        self._news = WakeUp()
        self.listeners: list[Callable[[], None]] = []
        """Called after a change of one of the Secrets."""

    def current(self) -> HubAccess | None:
        keys = self._keys()
        if not keys:
            return None
        configured = self._settings().transport.hub_endpoint
        endpoint = configured or self._endpoint or default_endpoint(self._namespace)
        if is_plaintext(endpoint):
            return HubAccess(endpoint, keys[0])
        bundle = _entry(self._certificate.get(self._namespace, HUB_TLS_SECRET), CA_ENTRY)
        if bundle is None and not configured:
            return None  # the hub has not made its certificate yet; that of another hub may have a public authority
        return HubAccess(endpoint, keys[0], bundle)

    async def run(self) -> None:
        """Watch both Secrets until cancelled, and create that of the key whenever it is missing."""
        backoff = Backoff(*_RETRY_SECONDS)
        async with trio.open_nursery() as nursery:
            for informer in (self._key_secret, self._certificate):
                informer.add_handler(self._changed)
                nursery.start_soon(informer.run, name=f"informer {informer.resource.title}")
            await self._key_secret.wait_until_synced()
            while True:
                self._news.clear()
                if self._key_secret.get(self._namespace, HUB_KEY_SECRET) is not None:
                    await self._news.wait()
                    continue
                try:
                    await self._create_key()
                    backoff.reset()
                except KubeError as error:
                    _LOG.warning("the key of the hub cannot be stored; realtime steps wait", cause=str(error))
                    await trio.sleep(backoff.next_seconds())

    async def _create_key(self) -> None:
        try:
            stored = await self._client.create(SECRET, hub_key_secret(self._namespace, new_hub_key()))
        except AlreadyExistsError:
            await self._news.wait()  # another replica was faster, and the watch brings it
            return
        _LOG.info("created the key of the hub", object=f"{self._namespace}/{HUB_KEY_SECRET}")
        self._key_secret.remember(stored)

    def _keys(self) -> tuple[bytes, ...]:
        secret = self._key_secret.get(self._namespace, HUB_KEY_SECRET)
        try:
            return keys_of_secret(secret) if secret is not None else ()
        except HubKeyError as error:
            _LOG.warning(
                "the key of the hub cannot be used; realtime steps wait",
                object=f"{self._namespace}/{HUB_KEY_SECRET}",
                cause=str(error),
            )
            return ()

    def _changed(self, change: Change) -> None:
        del change
        self._news.wake()
        for listener in self.listeners:
            listener()

    def _informer(self, name: str) -> Informer:
        return Informer(self._client, SECRET, namespace=self._namespace, field_selector=f"metadata.name={name}")


def _entry(secret: Object | None, name: str) -> bytes | None:
    """The bytes of an entry; None if there is none that can be read."""
    encoded = ((secret or {}).get("data") or {}).get(name)
    if not isinstance(encoded, str) or not encoded:
        return None
    try:
        return base64.b64decode(encoded, validate=True) or None
    except binascii.Error:
        return None
