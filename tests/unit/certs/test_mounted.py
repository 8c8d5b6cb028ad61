"""Files that a kubelet exchanges: a generation is served completely, or the one before it."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing
import trustme

from certs.mounted import MountedCertificate
from certs.serving import ServingContext
from core.engine.clock import system_now
from core.telemetry import metrics
from tests.unit.certs.certs_world import HOST


class Volume:
    """A mounted Secret as a kubelet writes it: ``tls.crt`` → ``..data/tls.crt``, ``..data`` → a dated folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._generation = 0

    def write(self, **files: bytes) -> None:
        self._generation += 1
        dated = self.folder / f"..2026_{self._generation}"
        dated.mkdir()
        for name, content in files.items():
            entry = name.replace("_", ".")
            (dated / entry).write_bytes(content)
            if not (self.folder / entry).is_symlink():
                (self.folder / entry).symlink_to(Path("..data") / entry)
        (self.folder / "..data_tmp").symlink_to(dated.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")


class Time:
    """The time by which API servers judge certificates; ``told`` counts how often it was asked."""

    def __init__(self) -> None:
        self.instant = system_now()
        self.told = 0

    async def ask(self) -> datetime:
        await trio.lowlevel.checkpoint()
        self.told += 1
        return self.instant

    def now(self) -> datetime:
        return self.instant


def issued(
    authority: trustme.CA, *names: str, not_before: datetime | None = None, not_after: datetime | None = None
) -> dict[str, bytes]:
    cert = authority.issue_cert(*(names or (HOST,)), not_before=not_before, not_after=not_after)
    chain = b"".join(blob.bytes() for blob in cert.cert_chain_pems)
    return {"tls_crt": chain, "tls_key": cert.private_key_pem.bytes()}


async def shown(serving: ServingContext, authority: trustme.CA) -> str:
    """The certificate that the server presents, as PEM."""
    client = ssl.create_default_context()
    authority.configure_trust(client)
    ours, theirs = trio.testing.memory_stream_pair()
    one = trio.SSLStream(ours, client, server_hostname=HOST)
    other = trio.SSLStream(theirs, serving.context, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.do_handshake)
        await one.do_handshake()
    der = one.getpeercert(binary_form=True)
    assert isinstance(der, bytes)
    return ssl.DER_cert_to_PEM_cert(der)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


async def test_a_renamed_link_is_noticed_and_served(tmp_path: Path, authority: trustme.CA) -> None:
    volume, serving = Volume(tmp_path), ServingContext()
    mounted = MountedCertificate(tmp_path, serving, Time())
    for _ in range(3):
        files = issued(authority)
        volume.write(**files)

        assert await mounted.look()

        assert (await shown(serving, authority)).encode() in files["tls_crt"]
    assert not await mounted.look()
    assert serving.exchanges == 3


async def test_plain_files_work_too(tmp_path: Path, authority: trustme.CA) -> None:
    serving = ServingContext()
    files = issued(authority)
    (tmp_path / "my.crt").write_bytes(files["tls_crt"])
    (tmp_path / "my.key").write_bytes(files["tls_key"])

    assert await MountedCertificate(tmp_path, serving, Time(), certificate="my.crt", key="my.key").look()

    assert (await shown(serving, authority)).encode() in files["tls_crt"]


@pytest.mark.parametrize("damage", ["mismatch", "truncated", "empty", "gone"])
async def test_a_pair_that_cannot_be_served_leaves_the_old_one(
    tmp_path: Path, authority: trustme.CA, damage: str
) -> None:
    volume, serving = Volume(tmp_path), ServingContext()
    mounted = MountedCertificate(tmp_path, serving, Time())
    files = issued(authority)
    volume.write(**files)
    await mounted.look()
    before = await shown(serving, authority)

    match damage:
        case "mismatch":
            volume.write(**{**files, "tls_key": issued(authority)["tls_key"]})
        case "truncated":
            volume.write(**{**files, "tls_crt": files["tls_crt"][:300]})
        case "empty":
            volume.write(tls_crt=b"", tls_key=b"")
        case "gone":
            volume.write(other=b"")
    with metrics.recording():
        assert not await mounted.look()
        assert metrics.sample("certwatcher_read_certificate_errors_total") == 1

    assert await shown(serving, authority) == before
    assert mounted.readiness.ready
    volume.write(**issued(authority))
    assert await mounted.look()
    assert await shown(serving, authority) != before


async def test_it_is_not_ready_until_there_is_something_to_serve(tmp_path: Path, authority: trustme.CA) -> None:
    mounted = MountedCertificate(tmp_path, ServingContext(), Time())
    await mounted.look()

    assert not mounted.readiness.ready
    assert "tls.crt: No such file or directory" in mounted.readiness.word


async def test_it_goes_on_looking(
    tmp_path: Path, authority: trustme.CA, autojump_clock: trio.testing.MockClock
) -> None:
    volume, serving = Volume(tmp_path), ServingContext()
    mounted = MountedCertificate(tmp_path, serving, Time())
    autojump_clock.autojump_threshold = 0.05  # worker threads read the files, and the mock clock does not see threads
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mounted.run)
            await trio.sleep(5)
            volume.write(**issued(authority))
            await trio.sleep(5)
            nursery.cancel_scope.cancel()

    assert mounted.readiness.ready


def is_ready(mounted: MountedCertificate) -> bool:
    return mounted.readiness.ready


SOON = timedelta(hours=1)


async def test_an_expired_certificate_is_said_and_a_renewed_one_is_served(
    tmp_path: Path, authority: trustme.CA
) -> None:
    volume, serving, time = Volume(tmp_path), ServingContext(), Time()
    mounted = MountedCertificate(tmp_path, serving, time)
    volume.write(**issued(authority, not_after=time.instant + SOON))
    await mounted.look()
    assert is_ready(mounted)

    time.instant += 2 * SOON
    with metrics.recording():
        for _ in range(2):
            assert not await mounted.look()
        assert metrics.sample("certwatcher_read_certificate_errors_total") == 2

    assert not is_ready(mounted)
    assert "it expired at " in mounted.readiness.word
    volume.write(**issued(authority))
    assert await mounted.look()
    assert is_ready(mounted)


@pytest.mark.parametrize("other", ["expired", "not yet valid"])
async def test_a_certificate_outside_its_dates_does_not_replace_a_valid_one(
    tmp_path: Path, authority: trustme.CA, other: str
) -> None:
    volume, serving, time = Volume(tmp_path), ServingContext(), Time()
    mounted = MountedCertificate(tmp_path, serving, time)
    files = issued(authority)
    volume.write(**files)
    await mounted.look()

    dates = {"not_after": time.instant - SOON} if other == "expired" else {"not_before": time.instant + SOON}
    later = issued(authority, **dates)
    volume.write(**later)
    assert not await mounted.look()

    assert (await shown(serving, authority)).encode() in files["tls_crt"]
    assert is_ready(mounted)
    assert "the files in" in mounted.readiness.word
    if other == "not yet valid":
        time.instant += 2 * SOON
        assert await mounted.look()
        assert mounted.readiness.word.startswith("serving the certificate in")


async def test_with_nothing_better_an_expired_certificate_is_shown_so_that_callers_name_the_reason(
    tmp_path: Path, authority: trustme.CA
) -> None:
    volume, serving, time = Volume(tmp_path), ServingContext(), Time()
    mounted = MountedCertificate(tmp_path, serving, time)
    volume.write(**issued(authority, not_after=time.instant - SOON))

    assert await mounted.look()

    assert serving.exchanges == 1
    assert not is_ready(mounted)
    assert "it expired at " in mounted.readiness.word


async def test_the_callers_are_asked_for_the_time_when_something_is_new_or_seems_wrong(
    tmp_path: Path, authority: trustme.CA
) -> None:
    volume, time = Volume(tmp_path), Time()
    mounted = MountedCertificate(tmp_path, ServingContext(), time)
    volume.write(**issued(authority, not_after=time.instant + SOON))
    for _ in range(5):
        await mounted.look()
    assert time.told == 1

    time.instant += 2 * SOON
    for _ in range(3):
        await mounted.look()
    assert time.told == 4


async def test_each_trouble_and_its_end_are_logged_once(
    tmp_path: Path, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="bobrapet")
    volume, time = Volume(tmp_path), Time()
    mounted = MountedCertificate(tmp_path, ServingContext(), time)
    files = issued(authority)
    for content in (files, {**files, "tls_key": b"no key"}, files, {**files, "tls_key": b"no key"}, files):
        volume.write(**content)
        for _ in range(3):
            await mounted.look()

    trouble, over = "cannot use the mounted certificate", "the mounted certificate can be used again"
    assert caplog.messages == ["serving a mounted certificate", trouble, over, trouble, over]
    fields = [cast("Any", record).bobrapet_fields for record in caplog.records]
    assert fields[1]["error"] == "tls.key must hold a private key in PEM"
    assert "no key" not in str(fields)


async def test_a_certificate_for_other_names_is_served_with_a_warning(
    tmp_path: Path, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    volume, serving = Volume(tmp_path), ServingContext()
    names = (HOST, "admission.example")
    mounted = MountedCertificate(tmp_path, serving, Time(), names=names)
    for other in ("other.example", "*.example"):
        volume.write(**issued(authority, HOST, other))
        assert await mounted.look()

    (warning,) = [cast("Any", record).bobrapet_fields for record in caplog.records if record.levelname == "WARNING"]
    assert warning["missing"] == "admission.example"
    assert warning["names"] == f"{HOST}, other.example"
    assert is_ready(mounted)
