"""Showing and requesting certificates, on an API server in this process. A keeper plays the part of the operator."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import trio

from certs.policy import CertRules
from certs.rotation import DEFAULT_SECRET, CertificateKeeper
from certs.secret import ROTATE
from certs.serving import ServingContext
from cli.exit_code import ExitCode
from cli.options import CommonOptions
from cli.problem import CommandError
from cli.session import Session
from cli.verbs.certs import rotate_certificates, show_certificates
from core.api.resource import NAMESPACE, SECRET
from core.engine.clock import WallClock
from core.kube.events import EventRecorder
from deployment.permissions.table import OPERATOR_NAMESPACE

WithOptions = Callable[[Session, CommonOptions], Session]


@pytest.fixture
async def keeper(session: Session) -> CertificateKeeper:
    await session.client.create(NAMESPACE, {"metadata": {"name": OPERATOR_NAMESPACE}})
    clock = WallClock()
    made = CertificateKeeper(
        session.client,
        ServingContext(),
        namespace=OPERATOR_NAMESPACE,
        rules=CertRules(("gate.svc",)),
        clock=clock,
        events=EventRecorder(session.client, now=clock.now),
    )
    await made.look()
    return made


async def test_what_is_served_and_trusted_is_listed_without_keys(
    session: Session, keeper: CertificateKeeper, with_options: WithOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    await show_certificates(session, DEFAULT_SECRET)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("   ")[0] for line in lines] == ["ROLE", "served", "active authority"]
    assert keeper.held is not None
    assert f"{keeper.held.leaf.certificate.serial_number:x}" in lines[1]

    await show_certificates(with_options(session, CommonOptions(output="json")), DEFAULT_SECRET)
    out = capsys.readouterr().out
    assert [item["daysLeft"] for item in json.loads(out)["items"]] == [6, 364]
    assert "KEY" not in out


@pytest.mark.parametrize("authority", [False, True], ids=["leaf", "authority"])
async def test_a_rotation_is_asked_for_and_waited_for(
    session: Session, keeper: CertificateKeeper, capsys: pytest.CaptureFixture[str], authority: bool
) -> None:
    before = keeper.held
    assert before is not None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await rotate_certificates(session, DEFAULT_SECRET, authority=authority, dry_run=False, wait_seconds=20)
        nursery.cancel_scope.cancel()

    await keeper.look()
    after = keeper.held
    assert after is not None
    assert (after.upcoming is not None) == authority
    assert (after.leaf != before.leaf) != authority
    expected = "a new authority was created" if authority else "a new certificate is served, until "
    assert expected in capsys.readouterr().out


async def test_without_an_operator_the_wait_ends_and_says_so(session: Session, keeper: CertificateKeeper) -> None:
    with pytest.raises(CommandError, match="no operator has acted on Secret bobrapet-system/bobrapet-web") as refused:
        await rotate_certificates(session, DEFAULT_SECRET, authority=False, dry_run=False, wait_seconds=0.1)

    assert refused.value.code is ExitCode.WAIT_TIMED_OUT


async def test_a_dry_run_asks_for_nothing(session: Session, keeper: CertificateKeeper) -> None:
    await rotate_certificates(session, DEFAULT_SECRET, authority=True, dry_run=True, wait_seconds=0)

    stored = await session.client.get(SECRET, DEFAULT_SECRET, OPERATOR_NAMESPACE)
    assert ROTATE not in stored["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"tls.key": "AAAA"}}, "is damaged: tls.key must hold a private key in PEM"),
        ({"metadata": {"labels": None}}, "was not made by the operator"),
        ({"data": dict.fromkeys(("tls.crt", "tls.key"), "") | dict.fromkeys(("ca.crt", "ca.key"))}, "is empty"),
    ],
    ids=["damaged", "foreign", "empty"],
)
async def test_a_secret_that_cannot_be_shown_says_why(
    session: Session, keeper: CertificateKeeper, change: dict[str, object], message: str
) -> None:
    await session.client.patch(SECRET, DEFAULT_SECRET, change, namespace=OPERATOR_NAMESPACE)

    with pytest.raises(CommandError, match=message):
        await show_certificates(session, DEFAULT_SECRET)


async def test_a_secret_that_is_not_there_says_how_to_name_another(session: Session) -> None:
    with pytest.raises(CommandError, match="there is no Secret bobrapet-system/elsewhere") as refused:
        await show_certificates(session, "elsewhere")

    assert "--namespace" in refused.value.remedy
