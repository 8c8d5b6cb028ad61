"""The context presents the last installed pair, on every version of TLS, and never half of a pair."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

import pytest

from certs import serving
from certs.authority import Pair, PrivateKey, issue_authority, issue_leaf
from certs.errors import UnusableError
from certs.material import Material, pem_of
from certs.policy import Absent, SuccessionStep
from certs.serving import ServingContext
from certs.succession import follow
from core.engine.clock import system_now
from tests.unit.certs.certs_world import HOST, LIFETIMES, RULES, START


def fresh() -> Material:
    return follow(SuccessionStep.BOOTSTRAP, Absent(), None, system_now(), RULES)


def handshake(
    server: ssl.SSLContext,
    bundle: bytes,
    version: ssl.TLSVersion,
    *,
    name: str | None = HOST,
    between: Callable[[], None],
) -> bytes:
    """A handshake with both ends in memory. ``between`` is called after the client's first message."""
    client = ssl.create_default_context(cadata=bundle.decode())
    client.minimum_version = client.maximum_version = version
    client.check_hostname = name is not None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    done = [False, False]
    for turn in range(20):
        for number, end in enumerate(ends):
            if not done[number]:
                try:
                    end.do_handshake()
                    done[number] = True
                except ssl.SSLWantReadError:
                    pass
        if turn == 0:
            between()
        if all(done):
            shown = ends[0].getpeercert(binary_form=True)
            assert shown is not None
            return shown
    raise AssertionError("the handshake does not end")


def nothing() -> None:
    return


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["tls1.2", "tls1.3"])
@pytest.mark.parametrize("name", [HOST, None], ids=["by-name", "without-a-name"])
def test_the_newest_pair_is_presented(version: ssl.TLSVersion, name: str | None) -> None:
    context = ServingContext()
    for _ in range(2):
        material = fresh()
        context.install(pem_of((material.leaf.certificate,)), material.leaf)

        shown = handshake(context.context, material.bundle, version, name=name, between=nothing)

        assert pem_of((material.leaf.certificate,)) == ssl.DER_cert_to_PEM_cert(shown).encode()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["tls1.2", "tls1.3"])
def test_an_exchange_in_the_middle_of_a_handshake_does_not_disturb_it(version: ssl.TLSVersion) -> None:
    old, new = fresh(), fresh()
    context = ServingContext()
    context.install(pem_of((old.leaf.certificate,)), old.leaf)

    def exchange() -> None:
        context.install(pem_of((new.leaf.certificate,)), new.leaf)

    shown = handshake(context.context, old.bundle, version, between=exchange)

    assert pem_of((old.leaf.certificate,)) == ssl.DER_cert_to_PEM_cert(shown).encode()
    handshake(context.context, new.bundle, version, between=nothing)


def test_a_pair_that_does_not_match_is_refused_and_the_old_one_stays() -> None:
    good, other = fresh(), fresh()
    context = ServingContext()
    context.install(pem_of((good.leaf.certificate,)), good.leaf)

    with pytest.raises(UnusableError, match="refuses certificate and key: KEY_VALUES_MISMATCH"):
        context.install(pem_of((good.leaf.certificate,)), other.leaf)

    handshake(context.context, good.bundle, ssl.TLSVersion.TLSv1_3, between=nothing)


def test_without_a_certificate_handshakes_fail_and_nothing_else() -> None:
    context = ServingContext()

    with pytest.raises(ssl.SSLError):
        handshake(context.context, fresh().bundle, ssl.TLSVersion.TLSv1_3, between=nothing)


def test_what_the_server_wants_of_a_context_holds_for_each() -> None:
    seen: list[ssl.SSLContext] = []
    context = ServingContext(seen.append)
    material = fresh()
    context.install(pem_of((material.leaf.certificate,)), material.leaf)

    assert len(seen) == 2
    assert all(one.minimum_version is ssl.TLSVersion.TLSv1_2 for one in seen)


def test_without_files_in_memory_the_key_reaches_the_disk_encrypted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    sealed = serving._sealed_file

    def spy(chain: bytes, key: PrivateKey) -> object:
        opened = sealed(chain, key)

        class Spied:
            def __enter__(self) -> tuple[str, str]:
                path, password = opened.__enter__()
                with open(path, "rb") as file:  # noqa: PTH123
                    written.append(file.read())
                return path, password

            def __exit__(self, *raised: object) -> None:
                opened.__exit__(None, None, None)

        return Spied()

    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(serving, "_sealed_file", spy)
    material = fresh()
    context = ServingContext()
    context.install(pem_of((material.leaf.certificate,)), material.leaf)

    handshake(context.context, material.bundle, ssl.TLSVersion.TLSv1_3, between=nothing)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in written[0]
    assert b"BEGIN PRIVATE KEY" not in written[0]


def test_descriptors_do_not_pile_up() -> None:
    pair: Pair = issue_leaf(issue_authority((HOST,), START, LIFETIMES), (HOST,), START, LIFETIMES)
    context = ServingContext()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    for _ in range(20):
        context.install(pem_of((pair.certificate,)), pair)

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
