"""Certificate files that another component renews, such as cert-manager through a mounted Secret.

A kubelet replaces a mounted Secret by renaming a link. So the link is resolved once for both files, and certificate and
key are only used if they belong together and are valid now; otherwise the previous ones stay in use. Where there is
nothing better, an expired certificate is served, because its callers then name the reason; but the server is not ready,
so a Service leads them to another replica. Nothing is written, neither here nor at the API server.
Source: operator contract 8.6 (certwatcher series), admission contract 1.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import trio
from cryptography import x509

from bubu_contract.instants import format_instant
from certs.authority import Pair, names_of, within_time
from certs.errors import UnusableError
from certs.readiness import Readiness
from certs.secret import served_pair
from certs.serving import ServingContext
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger

POLL_SECONDS: Final = 2.0
"""Seconds between two checks of the files; a kubelet itself may take a minute to deliver a change."""
MAX_FILE_BYTES: Final = 1 << 20

_REMEDY: Final = "the component that renews these files, such as cert-manager, must provide a pair that is valid now"
_LOG: Final = get_logger("certificates")

_Files = tuple[bytes, bytes]
"""The contents of certificate and key."""


class CertificateClock(Protocol):
    """The time by which callers judge the certificate."""

    async def ask(self) -> datetime:
        """The time now, as exactly as it can be known."""

    def now(self) -> datetime:
        """The time now, as far as it is known without waiting."""


class MountedCertificate:
    """Serves the certificate in ``folder``.

    Args:
        clock: that of the callers, e.g. ``certs.verifiertime``.
        certificate: name of the file with the chain, leaf first.
        key: name of the file with the private key.
        names: by which callers reach the server. A certificate that lacks one is served, and a warning says so.
    """

    def __init__(
        self,
        folder: Path,
        serving: ServingContext,
        clock: CertificateClock,
        *,
        certificate: str = "tls.crt",
        key: str = "tls.key",
        names: Sequence[str] = (),
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._folder = folder
        self._serving = serving
        self._clock = clock
        self._files = certificate, key
        self._names = names
        self._poll_seconds = poll_seconds
        self._seen: _Files | None = None
        self._parsed: Pair | str = ""
        """What ``_seen`` holds, or why it cannot be used."""
        self._served: tuple[_Files, Pair] | None = None
        self._problem = "they have not been read yet"
        """Why the files cannot be used; empty if they can."""

    @property
    def readiness(self) -> Readiness:
        if self._served is None:
            return Readiness(False, f"no certificate to serve in {self._folder}: {self._problem}; {_REMEDY}")
        served = self._served[1].certificate
        if why := _why_unfit(served, self._clock.now()):
            return Readiness(False, f"the certificate of {self._folder} cannot be trusted: {why}; {_REMEDY}")
        until = format_instant(served.not_valid_after_utc)
        if self._problem:
            text = f"serving the certificate that is valid until {until}; the files in {self._folder} cannot be used"
            return Readiness(True, f"{text}: {self._problem}")
        return Readiness(True, f"serving the certificate in {self._folder}, which is valid until {until}")

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
            self._seen = None
            name = Path(error.filename).name if isinstance(error.filename, str) else self._folder.name
            self._fail(f"{name}: {error.strerror or error}")
            return False
        is_new = found != self._seen
        if is_new:
            metrics.count(catalogue.CERTIFICATE_READS)
            self._seen, self._parsed = found, _parsed(found)
        if isinstance(self._parsed, str):
            self._fail(self._parsed)
            return False
        return await self._consider(found, self._parsed, is_new=is_new)

    async def _consider(self, found: _Files, pair: Pair, *, is_new: bool) -> bool:
        why = _why_unfit(pair.certificate, self._clock.now())
        if why or is_new:
            why = _why_unfit(pair.certificate, await self._clock.ask())
        is_served = self._served is not None and self._served[0] == found
        changed = not is_served and (not why or not self._serves_valid()) and self._install(found, pair)
        if isinstance(self._parsed, str):
            why = self._parsed
        if why:
            self._fail(why)
        elif self._problem:
            self._problem = ""
            if is_served:
                _LOG.info("the mounted certificate can be used again", folder=str(self._folder))
        return changed

    def _serves_valid(self) -> bool:
        return self._served is not None and not _why_unfit(self._served[1].certificate, self._clock.now())

    def _install(self, found: _Files, pair: Pair) -> bool:
        try:
            self._serving.install(found[0], pair)
        except UnusableError as error:
            self._parsed = str(error)
            return False
        self._served = found, pair
        end = pair.certificate.not_valid_after_utc
        metrics.set_gauge(catalogue.CERTIFICATE_EXPIRY, end.timestamp(), certificate="leaf")
        _LOG.info("serving a mounted certificate", folder=str(self._folder), expires=end.isoformat())
        if missing := [name for name in self._names if not _is_for(pair.certificate, name)]:
            _LOG.warning(
                "callers that use these names will refuse the mounted certificate, which must be issued for them",
                folder=str(self._folder),
                missing=", ".join(missing),
                names=", ".join(sorted(names_of(pair.certificate))),
            )
        return True

    async def _read(self) -> _Files:
        """Certificate and key of one generation: the target of ``..data`` is resolved once for both."""
        folder = trio.Path(self._folder)
        link = folder / "..data"
        if await link.exists():
            folder = await link.resolve()
        certificate, key = [await _bounded(folder / name) for name in self._files]
        return certificate, key

    def _fail(self, problem: str) -> None:
        metrics.count(catalogue.CERTIFICATE_READ_ERRORS)
        if problem != self._problem:
            _LOG.warning("cannot use the mounted certificate", folder=str(self._folder), error=problem, remedy=_REMEDY)
        self._problem = problem


def _parsed(found: _Files) -> Pair | str:
    try:
        return served_pair(*found)[0]
    except UnusableError as error:
        return str(error)


def _why_unfit(certificate: x509.Certificate, now: datetime) -> str:
    """Why callers whose clock shows ``now`` refuse the dates of the certificate; empty if they do not."""
    if within_time(certificate, now):
        return ""
    if now < certificate.not_valid_before_utc:
        return f"it is not valid before {format_instant(certificate.not_valid_before_utc)}"
    return f"it expired at {format_instant(certificate.not_valid_after_utc)}"


def _is_for(certificate: x509.Certificate, name: str) -> bool:
    """Whether a caller that uses ``name`` accepts the certificate; a wildcard stands for the first label."""
    return not names_of(certificate).isdisjoint((name, f"*.{name.partition('.')[2]}"))


async def _bounded(path: trio.Path) -> bytes:
    async with await path.open("rb") as file:
        return bytes(await file.read(MAX_FILE_BYTES))
