"""Certificates survive changes of Secrets, clocks, API servers and processes. Each test ends with real handshakes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import trio
import trio.testing

from certs.authority import Lifetimes, issue_authority, issue_leaf
from certs.inject import DEFAULT_TARGETS, VALIDATING
from certs.material import pem_of
from certs.rotation import RotationPace
from certs.secret import ROTATE
from core.api.resource import SECRET
from core.telemetry import metrics
from kubewire import Object, PatchType, copy_value
from tests.integration.certs_replica import (
    HOST,
    NAMESPACE,
    RULES,
    SECRET_NAME,
    AdmissionWorld,
    Hand,
    assert_trusted,
    open_admission_world,
    shake,
    until,
)


@pytest.fixture
async def gate(cluster: Any) -> AsyncIterator[AdmissionWorld]:
    async with open_admission_world(cluster) as opened:
        yield opened


async def edit_secret(gate: AdmissionWorld, **data: bytes | None) -> None:
    """Set entries of the Secret. Dots are spelled ``_`` and dashes ``__``. None removes an entry."""
    secret = copy_value(await gate.secret() or {})
    for name, value in data.items():
        entry = name.replace("__", "-").replace("_", ".")
        if value is None:
            secret["data"].pop(entry)
        else:
            secret["data"][entry] = base64.b64encode(value).decode()
    await gate.client.replace(SECRET, secret)


def foreign_secret(**data: bytes) -> Object:
    encoded = {name.replace("_", "."): base64.b64encode(value).decode() for name, value in data.items()}
    return {"metadata": {"name": SECRET_NAME, "namespace": NAMESPACE}, "type": "Opaque", "data": encoded}


async def test_two_replicas_that_start_together_agree_on_one_authority(gate: AdmissionWorld) -> None:
    one, two = await gate.replica(), await gate.replica()

    for replica in (one, two):
        gate.start(replica)
    await gate.until_ready(one, two)

    (bundle,) = set(await gate.bundles())
    assert await shake(one, bundle) == await shake(two, bundle)
    assert bundle.count(b"BEGIN CERTIFICATE") == 1


async def test_five_replicas_in_step_agree_on_one_authority(gate: AdmissionWorld) -> None:
    replicas = [await gate.replica() for _ in range(5)]

    async with trio.open_nursery() as nursery:
        for replica in replicas:
            nursery.start_soon(replica.look)
    for replica in replicas:
        await replica.look()

    await assert_trusted(gate, *replicas)
    assert len(set(await gate.bundles())) == 1


async def test_a_deleted_secret_is_put_back_within_seconds_and_no_certificate_changes(gate: AdmissionWorld) -> None:
    one, two = await gate.replica(), await gate.replica()
    for replica in (one, two):
        gate.start(replica)
    await gate.until_ready(one, two)
    shown, before = await shake(one, (await gate.bundles())[0]), await gate.secret()

    await gate.client.delete(SECRET, SECRET_NAME, NAMESPACE)

    with trio.fail_after(10):
        while (after := await gate.secret()) is None:
            await trio.lowlevel.checkpoint()
    assert before is not None
    assert after["data"] == before["data"]
    assert await shake(one, (await gate.bundles())[0]) == await shake(two, (await gate.bundles())[0]) == shown


async def test_a_deleted_secret_that_no_process_remembers_begins_anew(gate: AdmissionWorld) -> None:
    first = await gate.replica()
    await first.look()
    await gate.client.delete(SECRET, SECRET_NAME, NAMESPACE)
    second = await gate.replica()

    await second.look()

    await assert_trusted(gate, second)
    assert second.keeper.readiness.ready


@pytest.mark.parametrize(
    "damage",
    [
        {"tls_crt": b"-----BEGIN CERTIFICATE-----\nMIIB"},
        {"tls_key": b""},
        {"ca_key": None},
        {"ca_crt": b"garbage"},
        {"tls_key": "of another"},
    ],
    ids=["truncated-certificate", "empty-key", "no-authority-key", "garbage-bundle", "key-of-another"],
)
async def test_a_damaged_secret_is_mended_without_a_refused_handshake(
    gate: AdmissionWorld, damage: dict[str, Any]
) -> None:
    one, two = await gate.replica(), await gate.replica()
    for replica in (one, two):
        await replica.look()
    bundle = (await gate.bundles())[0]
    if damage.get("tls_key") == "of another":
        other = issue_authority((HOST,), one.hand(), RULES.lifetimes)
        damage = {"tls_key": other.key_pem()}
    await edit_secret(gate, **damage)

    await two.look()
    await shake(one, bundle)
    await one.look()

    await assert_trusted(gate, one, two)
    await shake(one, bundle)
    assert any(note.startswith("Warning CertificatesChanged restore") for note in two.told.notes)


async def test_a_truncated_secret_found_at_the_start_keeps_the_old_authority_trusted(gate: AdmissionWorld) -> None:
    running, fresh = await gate.replica(), await gate.replica()
    await running.look()
    await edit_secret(gate, tls_crt=b"-----BEGIN CERTIFICATE-----\nMIIB")

    await fresh.look()

    await assert_trusted(gate, running, fresh)


async def test_a_foreign_secret_is_never_written_and_what_is_held_goes_on_being_served(gate: AdmissionWorld) -> None:
    replica = await gate.replica()
    await replica.look()
    bundle = (await gate.bundles())[0]
    await gate.client.delete(SECRET, SECRET_NAME, NAMESPACE)
    foreign = await gate.client.create(SECRET, foreign_secret(password=b"of somebody else"))

    for _ in range(8):
        replica.hand.turn(minutes=25)
        await replica.look()
        await shake(replica, bundle)

    assert await gate.secret() == foreign
    assert replica.serving.exchanges > 3, "leaves were renewed by the authority in memory"
    assert "does not belong to the operator" in replica.keeper.readiness.word


async def test_a_foreign_secret_at_the_start_says_what_to_do_and_its_removal_is_enough(gate: AdmissionWorld) -> None:
    await gate.client.create(SECRET, foreign_secret(password=b"of somebody else"))
    replica = await gate.replica()
    gate.start(replica)
    await until(lambda: "delete it" in replica.keeper.readiness.word)
    assert not replica.keeper.readiness.ready

    await gate.client.delete(SECRET, SECRET_NAME, NAMESPACE)

    await gate.until_ready(replica)
    await assert_trusted(gate, replica)


async def test_a_foreign_secret_with_a_good_pair_is_served_beside_what_was_trusted(gate: AdmissionWorld) -> None:
    one, two = await gate.replica(), await gate.replica()
    for replica in (one, two):
        await replica.look()
    authority = issue_authority((HOST,), one.hand(), RULES.lifetimes)
    leaf = issue_leaf(authority, (HOST,), one.hand(), RULES.lifetimes)
    chain, trusted = pem_of((leaf.certificate,)), pem_of((authority.certificate,))
    await gate.client.delete(SECRET, SECRET_NAME, NAMESPACE)
    foreign = await gate.client.create(SECRET, foreign_secret(tls_crt=chain, tls_key=leaf.key_pem(), ca_crt=trusted))

    await one.look()
    await assert_trusted(gate, one, two)  # the second still serves its old certificate
    await two.look()

    await assert_trusted(gate, one, two)
    assert await shake(two, trusted) == await shake(one, trusted)
    assert await gate.secret() == foreign


async def test_a_consistent_secret_of_another_lineage_is_taken_over_without_distrusting_ours(
    gate: AdmissionWorld,
) -> None:
    one, two = await gate.replica(), await gate.replica()
    await one.look()
    ours = await gate.secret()
    await gate.client.delete(SECRET, SECRET_NAME, NAMESPACE)
    await two.look()
    other = await gate.secret()
    assert ours is not None
    assert other is not None
    assert ours["data"] != other["data"]

    await one.look()

    await assert_trusted(gate, one, two)
    await two.look()
    await assert_trusted(gate, one, two)


async def test_an_older_generation_put_back_again_and_again_costs_two_writes_a_minute(
    gate: AdmissionWorld, autojump_clock: trio.testing.MockClock
) -> None:
    replica = await gate.replica(pace=RotationPace())
    await replica.look()
    old = await gate.secret()
    assert old is not None
    replica.hand.turn(minutes=45)
    await replica.look()
    bundle = (await gate.bundles())[0]
    replica.line.writes.clear()
    await trio.sleep(61)  # the founding does not count any more

    for _ in range(59):
        await gate.client.replace(SECRET, {**old, "metadata": {**old["metadata"], "resourceVersion": None}})
        await replica.look()
        await trio.sleep(1)

    assert replica.line.writes.count(f"PUT {SECRET_NAME}") == 2
    await shake(replica, bundle)
    await trio.sleep(60)
    await replica.look()
    current = await gate.secret()
    assert current is not None
    assert current["data"]["tls.crt"] != old["data"]["tls.crt"]


@pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(days=-400)], ids=["forwards", "backwards"])
async def test_a_jump_of_our_clock_changes_nothing_while_the_api_servers_goes_on(
    gate: AdmissionWorld, jump: timedelta
) -> None:
    server, ours = Hand(), Hand()
    replica = await gate.replica(ours)
    replica.line.server_time = server
    await replica.look()
    before = await gate.secret()

    ours.at += jump
    await replica.look()

    assert await gate.secret() == before
    await assert_trusted(gate, replica)


@pytest.mark.parametrize("jump", [timedelta(hours=20), timedelta(days=-400)], ids=["forwards", "backwards"])
async def test_a_jump_of_every_clock_ends_with_a_certificate_that_is_valid_by_it(
    gate: AdmissionWorld, jump: timedelta
) -> None:
    hand = Hand()
    one, two = await gate.replica(hand), await gate.replica(hand)
    for replica in (one, two):
        await replica.look()

    hand.at += jump
    for replica in (one, two):
        await replica.look()

    for replica in (one, two):
        held = replica.keeper.held
        assert held is not None
        for certificate in (held.leaf.certificate, held.active.certificate):
            assert certificate.not_valid_before_utc < hand.at < certificate.not_valid_after_utc
    hand.at -= jump
    for replica in (one, two):
        await replica.look()
    await assert_trusted(gate, one, two)


async def test_an_authority_about_to_expire_hands_over_before_it_does(gate: AdmissionWorld) -> None:
    hand = Hand()
    first = await gate.replica(hand)
    await first.look()
    hand.turn(hours=5, minutes=50)  # ten minutes are left: no process ran when the overlap began
    late = await gate.replica(hand)

    await late.look()
    await assert_trusted(gate, first, late)
    hand.turn(minutes=6)
    await late.look()

    held = late.keeper.held
    assert held is not None
    assert held.active.certificate.not_valid_after_utc > hand.at + timedelta(hours=5)
    await assert_trusted(gate, first, late)


async def test_an_api_server_that_is_down_at_renewal_time_costs_no_handshake(gate: AdmissionWorld) -> None:
    replica = await gate.replica()
    await replica.look()
    bundle = (await gate.bundles())[0]
    shown = await shake(replica, bundle)
    replica.line.cut = True

    for _ in range(4):  # two lives of a leaf
        replica.hand.turn(minutes=30)
        assert await replica.look() is None
        await shake(replica, bundle)
    assert await shake(replica, bundle) != shown
    assert "line is cut" in replica.keeper.readiness.word
    replica.line.cut = False
    await replica.look()

    await assert_trusted(gate, replica)
    stored, held = await gate.secret(), replica.keeper.held
    assert stored is not None
    assert held is not None
    assert base64.b64decode(stored["data"]["tls.crt"]) == pem_of((held.leaf.certificate,))


async def test_a_bundle_that_somebody_edits_is_repaired_within_seconds(gate: AdmissionWorld) -> None:
    replica = await gate.replica()
    gate.start(replica)
    await gate.until_ready(replica)
    wanted = await gate.bundles()
    spoil = [{"op": "remove", "path": "/webhooks/1/clientConfig/caBundle"}]

    await gate.client.patch(VALIDATING, DEFAULT_TARGETS[1].name, spoil, patch_type=PatchType.JSON)

    with trio.fail_after(10):
        while await gate.bundles() != wanted:
            await trio.lowlevel.checkpoint()
    assert any("CABundlePublished" in note for note in replica.told.notes)


async def test_nothing_is_written_when_nothing_differs(gate: AdmissionWorld) -> None:
    replica = await gate.replica()
    await replica.look()
    replica.line.writes.clear()

    for _ in range(5):
        await replica.look()

    assert replica.line.writes == []


@pytest.mark.parametrize("what", ["leaf", "authority"])
async def test_a_person_may_ask_for_a_rotation_ahead_of_time(gate: AdmissionWorld, what: str) -> None:
    one, two = await gate.replica(), await gate.replica()
    for replica in (one, two):
        await replica.look()
    before = one.keeper.held
    patch = {"metadata": {"annotations": {ROTATE: what}}}
    await gate.client.patch(SECRET, SECRET_NAME, patch, namespace=NAMESPACE)

    for _ in range(3):
        await one.look()
        await assert_trusted(gate, one, two)
        one.hand.turn(minutes=6)
    await two.look()

    await assert_trusted(gate, one, two)
    after = two.keeper.held
    assert before is not None
    assert after is not None
    assert after.leaf.certificate != before.leaf.certificate
    assert (after.active.certificate != before.active.certificate) == (what == "authority")
    assert after.requested is None


async def test_metrics_tell_expiry_rotations_and_failures(gate: AdmissionWorld) -> None:
    with metrics.recording():
        replica = await gate.replica()
        await replica.look()
        replica.line.cut = True
        await replica.look()

        held = replica.keeper.held
        assert held is not None
        leaf_end = held.leaf.certificate.not_valid_after_utc.timestamp()
        assert metrics.sample("bobrapet_certificate_expiry_timestamp_seconds", certificate="leaf") == leaf_end
        assert metrics.sample("bobrapet_certificate_rotations_total", step="bootstrap") == 1
        assert metrics.sample("bobrapet_certificate_failures_total", operation="store") == 1


async def test_no_private_key_reaches_logs_events_or_representations(
    gate: AdmissionWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    replica = await gate.replica()
    await replica.look()
    await edit_secret(gate, tls_crt=b"garbage")
    await replica.look()

    held, secret = replica.keeper.held, await gate.secret()
    assert held is not None
    assert secret is not None
    captured = capsys.readouterr()
    texts = "".join([repr(held), repr(replica.keeper), *replica.told.notes, captured.out, captured.err])
    assert "PRIVATE" not in texts
    assert "_ECPrivateKey" not in texts
    for entry in ("tls.key", "ca.key"):
        lines = base64.b64decode(secret["data"][entry]).decode().splitlines()
        assert not any(line in texts for line in lines)


def test_lifetimes_that_leave_no_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap > leaf"):
        Lifetimes(overlap=timedelta(days=7), leaf=timedelta(days=7))
