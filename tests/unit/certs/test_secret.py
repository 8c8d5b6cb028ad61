"""What is written can be read. Any other content of a Secret gives problems, but no exception and no key."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from certs.authority import issue_authority
from certs.material import Material, Rotation
from certs.policy import Absent, Damaged, Foreign, Kept, SuccessionStep
from certs.secret import OWNER, OWNER_LABEL, ROTATE, read_secret, write_secret
from certs.succession import follow
from kubewire import Object
from tests.unit.certs.certs_world import HOST, LIFETIMES, RULES, START

NAMES = (HOST,)
BOOTSTRAPPED = follow(SuccessionStep.BOOTSTRAP, Absent(), None, START, RULES)
UPCOMING = issue_authority(NAMES, START, LIFETIMES)
OLD = issue_authority(NAMES, START, LIFETIMES).certificate


@pytest.mark.parametrize(
    "material",
    [
        BOOTSTRAPPED,
        replace(BOOTSTRAPPED, upcoming=UPCOMING, generation=7),
        replace(BOOTSTRAPPED, upcoming=UPCOMING, published_at=START + timedelta(hours=1), retired=(OLD,)),
        replace(BOOTSTRAPPED, retired=(OLD,), requested=Rotation.AUTHORITY),
    ],
    ids=["founded", "introduced", "published", "requested"],
)
def test_what_is_written_is_read_again(material: Material) -> None:
    secret = write_secret(material, None, "pair", "system")

    assert read_secret(secret, NAMES, START) == Kept(material)


def test_what_others_wrote_into_the_metadata_is_kept() -> None:
    metadata = {
        "name": "pair",
        "resourceVersion": "7",
        "labels": {"team": "a"},
        "annotations": {ROTATE: "leaf", "b": "c"},
    }
    written = write_secret(BOOTSTRAPPED, {"metadata": metadata, "type": "Opaque"}, "pair", "system")

    assert written["type"] == "Opaque"
    assert written["metadata"]["resourceVersion"] == "7"
    assert written["metadata"]["labels"] == {"team": "a", OWNER_LABEL: OWNER}
    assert written["metadata"]["annotations"]["b"] == "c"
    assert ROTATE not in written["metadata"]["annotations"]


def test_an_empty_secret_is_free_to_be_used() -> None:
    assert read_secret(None, NAMES, START) == Absent()
    assert read_secret({"metadata": {"name": "pair"}}, NAMES, START) == Absent()
    assert read_secret({"metadata": {"name": "pair"}, "data": {"tls.crt": "", "tls.key": ""}}, NAMES, START) == Absent()


def test_every_problem_is_reported_at_once_and_survivors_are_kept() -> None:
    secret = write_secret(replace(BOOTSTRAPPED, retired=(OLD,)), None, "pair", "system")
    secret["data"] |= {"tls.key": "%%%", "ca.key": base64.b64encode(b"PRIVATE stuff").decode()}

    found = read_secret(secret, NAMES, START)

    assert isinstance(found, Damaged)
    assert found.problems == ("tls.key is not base64", "ca.key must hold a private key in PEM")
    assert found.survivors == (BOOTSTRAPPED.active.certificate, OLD)


def test_a_leaf_of_another_authority_is_a_problem() -> None:
    other = follow(SuccessionStep.BOOTSTRAP, Absent(), None, START, RULES)
    secret = write_secret(replace(BOOTSTRAPPED, leaf=other.leaf), None, "pair", "system")

    found = read_secret(secret, NAMES, START)

    assert isinstance(found, Damaged)
    assert found.problems == ("tls.crt must be issued by the first authority of ca.crt",)


def test_a_pair_of_somebody_elses_authority_is_provided() -> None:
    authority = trustme.CA()
    cert = authority.issue_cert(HOST)
    secret = foreign(
        {
            "tls.crt": b"".join(blob.bytes() for blob in cert.cert_chain_pems),
            "tls.key": cert.private_key_pem.bytes(),
            "ca.crt": authority.cert_pem.bytes(),
        }
    )
    now = START.replace(year=2026, month=6)

    found = read_secret(secret, NAMES, now)

    assert isinstance(found, Foreign)
    assert found.provided is not None
    assert found.problems == ()
    elsewhere = read_secret(secret, ("other.svc",), now)
    assert elsewhere == Foreign(("tls.crt is not for other.svc",))


def foreign(data: dict[str, bytes]) -> Object:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"metadata": {"name": "pair"}, "data": encoded}


GOOD = write_secret(BOOTSTRAPPED, None, "pair", "system")
ENTRIES = ("tls.crt", "tls.key", "ca.crt", "ca.key", "next-ca.key")


@given(
    st.dictionaries(
        st.sampled_from(ENTRIES),
        st.one_of(
            st.none(),
            st.integers(),
            st.text(),
            st.binary().map(lambda raw: base64.b64encode(raw).decode()),
            st.sampled_from(ENTRIES[:4]).map(lambda entry: str(GOOD["data"][entry])),
            st.integers(0, 400).map(
                lambda cut: base64.b64encode(base64.b64decode(GOOD["data"]["tls.crt"])[:cut]).decode()
            ),
        ),
    ),
    st.dictionaries(st.sampled_from([*GOOD["metadata"]["annotations"], ROTATE]), st.text()),
    st.booleans(),
)
def test_whatever_stands_in_a_secret_is_read_without_an_exception(
    data: dict[str, object], annotations: dict[str, str], ours: bool
) -> None:
    labels = {OWNER_LABEL: OWNER} if ours else {}
    entries = {**GOOD["data"], **data}
    secret = {"metadata": {"name": "pair", "labels": labels, "annotations": annotations}, "data": entries}

    found = read_secret(secret, NAMES, START)

    if not any(entries.values()):
        assert found == Absent()
    else:
        assert isinstance(found, (Kept, Damaged) if ours else Foreign)
    assert "PRIVATE" not in repr(found)
