"""The issued certificates are what verifiers and reviewers expect."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from certs.authority import is_issued_by, issue_authority, issue_leaf, may_issue_for, names_of
from tests.unit.certs.certs_world import HOST, LIFETIMES, START

NAMES = (HOST, "127.0.0.1")


def test_an_authority_may_sign_leaves_for_its_names_and_nothing_else() -> None:
    authority = issue_authority(NAMES, START, LIFETIMES).certificate

    basic = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert constraints.critical
    assert may_issue_for(authority, NAMES)
    assert not may_issue_for(authority, (*NAMES, "kubernetes.default.svc"))


def test_a_leaf_for_a_name_outside_the_constraints_is_refused_by_verifiers() -> None:
    authority = issue_authority((HOST,), START, LIFETIMES)
    stray = issue_leaf(authority, ("kubernetes.default.svc",), START, LIFETIMES)

    policy = PolicyBuilder().store(Store([authority.certificate])).time(START)
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("kubernetes.default.svc")).verify(stray.certificate, [])


def test_a_leaf_is_backdated_short_lived_and_for_servers_only() -> None:
    authority = issue_authority(NAMES, START, LIFETIMES)
    pair = issue_leaf(authority, NAMES, START, LIFETIMES)
    leaf = pair.certificate

    assert leaf.not_valid_before_utc == START - timedelta(minutes=5)
    assert leaf.not_valid_after_utc == START + timedelta(days=7)
    assert names_of(leaf) == set(NAMES)
    assert is_issued_by(leaf, authority.certificate)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [*usage] == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]
    assert isinstance(pair.key.public_key(), ec.EllipticCurvePublicKey)
    assert isinstance(pair.key, ec.EllipticCurvePrivateKey)
    assert pair.key.curve.name == "secp256r1"


def test_a_leaf_never_outlives_its_authority() -> None:
    authority = issue_authority(NAMES, START, LIFETIMES)
    late = START + LIFETIMES.authority - timedelta(hours=1)

    leaf = issue_leaf(authority, NAMES, late, LIFETIMES).certificate

    assert leaf.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_serial_numbers_are_random_and_subjects_of_authorities_differ() -> None:
    issued = [issue_authority(NAMES, START, LIFETIMES).certificate for _ in range(20)]

    serials = {certificate.serial_number for certificate in issued}
    assert len(serials) == len({certificate.subject for certificate in issued}) == 20
    assert min(serials).bit_length() > 100


def test_a_pair_shows_no_key() -> None:
    pair = issue_authority(NAMES, START, LIFETIMES)

    assert "key" not in repr(pair).lower()
