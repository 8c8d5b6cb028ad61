"""The certificate of the hub, exchanged while it serves: sessions keep the one that they began with."""

from __future__ import annotations

import base64
import binascii
import ssl

import trio

from certs.errors import UnusableError
from certs.mounted import MountedCertificate
from certs.secret import TLS_CERT, TLS_KEY, served_pair
from certs.serving import ServingContext
from certs.verifiertime import LocalTime
from core.api.objects import Object
from core.engine.clock import WallClock
from core.kube.client import KubeClient
from core.workloads.hub_access import HUB_TLS_SECRET
from manager.followed_secret import FollowedSecret
from manager.hub_serving import HubFiles, HubStartError


class HubCertificate:
    """``context`` is for the server, once there is a certificate."""

    def __init__(self) -> None:
        self._serving = ServingContext(_configure)
        self._console = ServingContext(_configure_console)

    @property
    def context(self) -> ssl.SSLContext:
        return self._serving.context

    @property
    def console_context(self) -> ssl.SSLContext:
        """For the console, whose client is an API server."""
        return self._console.context

    def followed(self, client: KubeClient, namespace: str) -> FollowedSecret:
        """The Secret that the operator maintains; run it to have its certificate."""
        return FollowedSecret(client, namespace, HUB_TLS_SECRET, self._install)

    async def follow_files(self, files: HubFiles) -> None:
        """Have the certificate of these files, and of those that replace them; until cancelled.

        Raises:
            HubStartError: they are not in one folder.
        """
        folder = files.certificate.parent
        if files.key.parent != folder:
            text = "they must be in one folder, which is replaced as a whole"
            raise HubStartError(f"{files.certificate}, {files.key}: {text}")
        names = files.certificate.name, files.key.name
        async with trio.open_nursery() as nursery:
            for serving in (self._serving, self._console):
                clock = LocalTime(WallClock())
                mounted = MountedCertificate(folder, serving, clock, certificate=names[0], key=names[1])
                nursery.start_soon(mounted.run)

    async def wait_until_installed(self) -> None:
        """Return once handshakes with streams and console can succeed."""
        await self._serving.wait_until_installed()
        await self._console.wait_until_installed()

    def _install(self, secret: Object) -> None:
        chain, key = _pem_of(secret)
        try:
            pair, _ = served_pair(chain, key)
            self._serving.install(chain, pair)
            self._console.install(chain, pair)
        except UnusableError as error:
            raise ValueError(str(error)) from None


def _pem_of(secret: Object) -> tuple[bytes, bytes]:
    """Chain and key in PEM."""
    data = secret.get("data") or {}
    try:
        return base64.b64decode(data[TLS_CERT], validate=True), base64.b64decode(data[TLS_KEY], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise ValueError(f"it must have {TLS_CERT} and {TLS_KEY}, in base64") from None


def _configure(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])


def _configure_console(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
