"""Files that a kubelet exchanges: a generation is served completely, or the one before it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from certs.mounted import MountedCertificate
from certs.serving import ServingContext
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


def issued(authority: trustme.CA) -> dict[str, bytes]:
    cert = authority.issue_cert(HOST)
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
    mounted = MountedCertificate(tmp_path, serving)
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

    assert await MountedCertificate(tmp_path, serving, certificate="my.crt", key="my.key").look()

    assert (await shown(serving, authority)).encode() in files["tls_crt"]


@pytest.mark.parametrize("damage", ["mismatch", "truncated", "empty", "gone"])
async def test_a_pair_that_cannot_be_served_leaves_the_old_one(
    tmp_path: Path, authority: trustme.CA, damage: str
) -> None:
    volume, serving = Volume(tmp_path), ServingContext()
    mounted = MountedCertificate(tmp_path, serving)
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
    mounted = MountedCertificate(tmp_path, ServingContext())
    await mounted.look()

    assert not mounted.readiness.ready
    assert "tls.crt: No such file or directory" in mounted.readiness.word


async def test_it_goes_on_looking(
    tmp_path: Path, authority: trustme.CA, autojump_clock: trio.testing.MockClock
) -> None:
    volume, serving = Volume(tmp_path), ServingContext()
    mounted = MountedCertificate(tmp_path, serving)
    autojump_clock.autojump_threshold = 0.05  # worker threads read the files, and the mock clock does not see threads
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mounted.run)
            await trio.sleep(5)
            volume.write(**issued(authority))
            await trio.sleep(5)
            nursery.cancel_scope.cancel()

    assert mounted.readiness.ready
