"""Show the content of the Secret with the operator's certificates, and request new ones.

Only certificates leave the Secret, not keys. The operator makes new ones; an annotation requests them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import trio
from cryptography import x509

from bubu_contract.instants import format_instant
from certs.material import Material, Rotation
from certs.policy import Absent, Damaged, Foreign, Kept
from certs.secret import OWNER_LABEL, ROTATE, read_secret
from cli.exit_code import ExitCode
from cli.problem import CommandError
from cli.render.output import render
from cli.render.table import table
from cli.session import Session
from core.api.resource import SECRET
from core.engine.clock import system_now
from core.kube.errors import NotFoundError
from deployment.permissions.names import OPERATOR_NAMESPACE
from kubewire.wire import Object

POLL_SECONDS: Final = 0.5


async def show_certificates(session: Session, name: str) -> None:
    """Print one line for each certificate.

    Raises:
        CommandError: there is no Secret, or the operator has not written its content.
    """
    secret = await _secret(session, name)
    rows = _rows(_kept(session, name, secret), system_now())
    if session.options.output not in ("table", "wide"):
        session.console.result(render(rows, session.options.output, single=False))
        return
    headers = ("ROLE", "SUBJECT", "EXPIRES", "DAYS", "SERIAL")
    cells = [(row["role"], row["subject"], row["notAfter"], str(row["daysLeft"]), row["serial"]) for row in rows]
    session.console.result(table(headers, cells, no_headers=session.options.no_headers))


async def rotate_certificates(
    session: Session, name: str, *, authority: bool, dry_run: bool, wait_seconds: float
) -> None:
    """Request a rotation, and wait ``wait_seconds`` until the operator's answer is in the Secret.

    Raises:
        CommandError: there is nothing to rotate, or the operator has not acted in time (code 124).
    """
    wanted = Rotation.AUTHORITY if authority else Rotation.LEAF
    namespace, secret = _namespace(session), await _secret(session, name)
    before = _kept(session, name, secret)
    if dry_run:
        session.console.note(f"would ask for a new {wanted} in Secret {namespace}/{name}")
        return
    patch = {
        "metadata": {
            "annotations": {ROTATE: str(wanted)},
            "uid": secret["metadata"]["uid"],
            "resourceVersion": secret["metadata"]["resourceVersion"],
        }
    }
    await session.client.patch(SECRET, name, patch, namespace=namespace)
    with trio.move_on_after(wait_seconds):
        while True:
            now = _kept(session, name, await _secret(session, name))
            if _has_begun(before, now, wanted):
                session.console.result(_answer(now, wanted))
                return
            await trio.sleep(POLL_SECONDS)
    raise CommandError(
        f"no operator has acted on Secret {namespace}/{name} within {wait_seconds:g} s; its annotation stays set",
        code=ExitCode.WAIT_TIMED_OUT,
        remedy=f"check that the operator is running, or remove the annotation {ROTATE}",
    )


def _namespace(session: Session) -> str:
    return session.options.namespace or OPERATOR_NAMESPACE


async def _secret(session: Session, name: str) -> Object:
    try:
        return await session.client.get(SECRET, name, _namespace(session))
    except NotFoundError:
        raise CommandError(
            f"there is no Secret {_namespace(session)}/{name}",
            remedy="name the operator's namespace with --namespace, or the Secret with --secret",
        ) from None


def _kept(session: Session, name: str, secret: Object) -> Material:
    where = f"Secret {_namespace(session)}/{name}"
    match read_secret(secret, (), system_now()):
        case Kept(material):
            return material
        case Damaged(problems):
            raise CommandError(f"{where} is damaged: {'; '.join(problems)}", remedy="a running operator repairs it")
        case Foreign():
            raise CommandError(f"{where} was not made by the operator (label {OWNER_LABEL})", remedy="ask its owner")
        case Absent():
            raise CommandError(f"{where} is empty", remedy="a running operator fills it")


def _rows(material: Material, now: datetime) -> list[Object]:
    found: list[tuple[str, x509.Certificate]] = [("served", material.leaf.certificate)]
    found.append(("active authority", material.active.certificate))
    if material.upcoming is not None:
        found.append(("upcoming authority", material.upcoming.certificate))
    found += [("retired authority", certificate) for certificate in material.retired]
    return [
        {
            "role": role,
            "subject": certificate.subject.rfc4514_string().removeprefix("CN="),
            "notBefore": format_instant(certificate.not_valid_before_utc),
            "notAfter": format_instant(certificate.not_valid_after_utc),
            "daysLeft": (certificate.not_valid_after_utc - now).days,
            "serial": f"{certificate.serial_number:x}",
        }
        for role, certificate in found
    ]


def _has_begun(before: Material, now: Material, wanted: Rotation) -> bool:
    if wanted is Rotation.LEAF:
        return now.leaf != before.leaf
    return now.upcoming is not None or now.active != before.active


def _answer(now: Material, wanted: Rotation) -> str:
    if wanted is Rotation.LEAF:
        return f"a new certificate is served, until {format_instant(now.leaf.certificate.not_valid_after_utc)}"
    return "a new authority was created; it signs certificates once every API server has had time to load it"
