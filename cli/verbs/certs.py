"""``certs show`` and ``certs rotate``: the operator's own certificates."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import typer

from bubu_contract.instants import format_instant
from cli.completing import is_called
from cli.durations import seconds_of
from cli.exit_code import ExitCode
from cli.options import DRY_RUN, QUESTIONS, CommonOptions, DryRun, with_common_options
from cli.problem import CommandError
from cli.render.output import render
from cli.render.table import table
from core.api.resource import SECRET
from core.kube.errors import NotFoundError
from deployment.permissions.names import OPERATOR_NAMESPACE
from kubewire import Object

if is_called():
    import trio
    from cryptography import x509

    from certs.material import Material, Rotation
    from certs.policy import Absent, Damaged, Foreign, Kept
    from certs.secret import OWNER_LABEL, ROTATE, read_secret
    from cli.interruption import InterruptedBySignalError, run_async
    from cli.session import Session, open_session
    from core.engine.clock import system_now


_SECRET_OPTION = typer.Option("--secret", help="Name of the Secret that holds them.")


def register(app: typer.Typer) -> None:
    certs = typer.Typer(help="The certificates that the operator serves admission with.", no_args_is_help=True)
    certs.command("show")(with_common_options(show))
    certs.command("rotate")(with_common_options(rotate, also=QUESTIONS | DRY_RUN))
    app.add_typer(certs, name="certs")


def show(
    options: CommonOptions,
    secret: Annotated[str, _SECRET_OPTION] = "bobrapet-webhook-server-cert",  # noqa: S107 - a name, not a secret
) -> None:
    """Show the operator's certificates: what it serves, which authorities API servers trust, and until when.

    Keys are never printed. The namespace is bobrapet-system unless --namespace names another.
    """

    async def work() -> None:
        async with open_session(options) as session:
            await show_certificates(session, secret)

    run_async(options, work)


def rotate(
    options: CommonOptions,
    authority: Annotated[
        bool, typer.Option("--authority", help="Renew the authority too, not only the certificate.")
    ] = False,
    secret: Annotated[str, _SECRET_OPTION] = "bobrapet-webhook-server-cert",  # noqa: S107 - a name, not a secret
    timeout: Annotated[str, typer.Option("--timeout", help="Wait at most this long for the operator.")] = "30s",
) -> None:
    """Ask the operator for new certificates ahead of time, and wait until it has started.

    The operator serves a new certificate at once. It publishes a new authority first, and signs with it five minutes
    later; API servers trust the old one until the last certificate that it has signed expires.
    """
    seconds = seconds_of("--timeout", timeout)

    async def work() -> None:
        async with open_session(options) as session:
            await rotate_certificates(
                session,
                secret,
                authority=authority,
                dry_run=options.dry_run is not DryRun.NONE,
                wait_seconds=seconds or 0,
            )

    try:
        run_async(options, work)
    except InterruptedBySignalError as interruption:
        raise typer.Exit(int(interruption.code)) from None


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
