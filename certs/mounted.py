"""Certificate files that another component renews, such as cert-manager through a mounted Secret.

A kubelet replaces a mounted Secret by renaming a link. So the link is resolved once for both files, and certificate and
key are only used if they belong together; otherwise the previous ones stay in use. Nothing is written, neither here nor
at the API server. Source: operator contract 8.6 (certwatcher series), admission contract 1.2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from certs.errors import UnusableError
from certs.readiness import Readiness
from certs.secret import served_pair
from certs.serving import ServingContext
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger

POLL_SECONDS: Final = 2.0
"""Seconds between two checks of the files; a kubelet itself may take a minute to deliver a change."""
MAX_FILE_BYTES: Final = 1 << 20

_LOG: Final = get_logger("certificates")


class MountedCertificate:
    """Serves the certificate in ``folder``.

    Args:
        certificate: name of the file with the chain, leaf first.
        key: name of the file with the private key.
    """

    def __init__(
        self,
        folder: Path,
        serving: ServingContext,
        *,
        certificate: str = "tls.crt",
        key: str = "tls.key",
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._folder = folder
        self._serving = serving
        self._names = certificate, key
        self._poll_seconds = poll_seconds
        self._served: tuple[bytes, bytes] | None = None
        self._refused: tuple[bytes, bytes] | None = None
        self._problem = "has not been read yet"

    @property
    def readiness(self) -> Readiness:
        if self._served is not None:
            return Readiness(True, f"serving the certificate in {self._folder}")
        return Readiness(False, f"no certificate to serve in {self._folder}: {self._problem}")

    async def run(self) -> None:
        """Read the files now and whenever they change, until cancelled."""
        while True:
            await self.look()
            await trio.sleep(self._poll_seconds)

    async def look(self) -> bool:
        """Read the files once; returns whether the served certificate has changed."""
        try:
            found = await self._read()
        except OSError as error:
            self._fail(f"{error.filename or self._folder}: {error.strerror or error}")
            return False
        if found in (self._served, self._refused):
            return False
        metrics.count(catalogue.CERTIFICATE_READS)
        try:
            pair, _ = served_pair(*found)
            self._serving.install(found[0], pair)
        except UnusableError as error:
            self._refused = found
            self._fail(str(error))
            return False
        self._served, self._refused, self._problem = found, None, ""
        end = pair.certificate.not_valid_after_utc
        metrics.set_gauge(catalogue.CERTIFICATE_EXPIRY, end.timestamp(), certificate="leaf")
        _LOG.info("serving a mounted certificate", folder=str(self._folder), expires=end.isoformat())
        return True

    async def _read(self) -> tuple[bytes, bytes]:
        """Certificate and key of one generation: the target of ``..data`` is resolved once for both."""
        folder = trio.Path(self._folder)
        link = folder / "..data"
        if await link.exists():
            folder = await link.resolve()
        certificate, key = [await _bounded(folder / name) for name in self._names]
        return certificate, key

    def _fail(self, problem: str) -> None:
        metrics.count(catalogue.CERTIFICATE_READ_ERRORS)
        if problem != self._problem:
            _LOG.warning("cannot use the mounted certificate", folder=str(self._folder), error=problem)
        self._problem = problem


async def _bounded(path: trio.Path) -> bytes:
    async with await path.open("rb") as file:
        return bytes(await file.read(MAX_FILE_BYTES))
