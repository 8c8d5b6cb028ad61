"""Certificates, kubeconfig and lock: what a cluster needs before it serves requests."""

import os
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localcluster import certificates
from localcluster.kubeconfig import Connection, KubeconfigError, read_kubeconfig, render_kubeconfig, write_private
from localcluster.lock import DataDirectoryInUseError, holding, owner_of
from localcluster.serving import PortTakenError, bind_loopback

NOW = datetime.now(UTC)  # noqa: TID251 - a real handshake compares certificates with the real clock


def test_a_client_that_trusts_the_authority_accepts_the_server_and_shows_itself(tmp_path: Path) -> None:
    authority = certificates.new_authority("test", NOW)
    server = certificates.issue_server(authority, "server", ("127.0.0.1", "localhost"), NOW)
    client = certificates.issue_client(authority, "someone", "some-group", NOW)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate_pem)
    context.verify_mode = ssl.CERT_REQUIRED
    write_private(tmp_path / "server.pem", server.certificate_pem + server.key_pem)
    context.load_cert_chain(tmp_path / "server.pem")
    connection = Connection("", "", authority.certificate_pem, client.certificate_pem, client.key_pem)
    listener = bind_loopback(0)
    listener.listen()
    seen: list[object] = []

    def answer() -> None:
        accepted, _ = listener.accept()
        with context.wrap_socket(accepted, server_side=True) as secure:
            seen.append(secure.getpeercert())
            secure.sendall(b"hello")

    thread = threading.Thread(target=answer)
    thread.start()
    with (
        listener,
        socket.create_connection(listener.getsockname()) as plain,
        connection.tls_context(tmp_path).wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        assert secure.recv(5) == b"hello"
    thread.join()

    assert "some-group" in str(seen[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["server.pem"]


def test_leaves_say_what_they_are_for() -> None:
    authority = certificates.new_authority("test", NOW)
    leaf = x509.load_pem_x509_certificate(certificates.issue_client(authority, "a", "b", NOW).certificate_pem.encode())

    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "b"


def test_the_authority_is_kept_private_and_replaced_before_it_expires(tmp_path: Path) -> None:
    first = certificates.load_or_create_authority(tmp_path, "test", NOW)
    again = certificates.load_or_create_authority(tmp_path, "test", NOW + timedelta(days=300))
    much_later = certificates.load_or_create_authority(tmp_path, "test", NOW + timedelta(days=3400))

    assert first == again
    assert much_later != first
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600


def test_a_kubeconfig_gives_its_connection_back(tmp_path: Path) -> None:
    connection = Connection("https://127.0.0.1:1", "secret", "CA", "CERT", "KEY")
    write_private(tmp_path / "kubeconfig", render_kubeconfig(connection))

    assert read_kubeconfig(tmp_path / "kubeconfig") == connection


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("a: b", "not a kubeconfig: 'current-context' is missing"), ("[]", "not a kubeconfig")],
)
def test_a_damaged_kubeconfig_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)

    with pytest.raises(KubeconfigError, match=complaint):
        read_kubeconfig(tmp_path / "kubeconfig")
    with pytest.raises(KubeconfigError, match="No such file"):
        read_kubeconfig(tmp_path / "missing")


def test_a_data_directory_has_one_holder_and_is_free_afterwards(tmp_path: Path) -> None:
    assert owner_of(tmp_path) is None
    with holding(tmp_path):
        assert owner_of(tmp_path) == os.getpid()
        with (
            pytest.raises(DataDirectoryInUseError, match=f"in use by process {os.getpid()}; stop it"),
            holding(tmp_path),
        ):
            pass
    assert owner_of(tmp_path) is None
    with holding(tmp_path):
        pass


def test_a_taken_port_is_refused_with_a_remedy() -> None:
    with bind_loopback(0) as first:
        first.listen()
        with pytest.raises(PortTakenError, match="choose another port, or 0"):
            bind_loopback(first.getsockname()[1])
