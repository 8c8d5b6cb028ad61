"""``certs show`` and ``certs rotate``: the operator's own certificates."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import DRY_RUN, QUESTIONS, CommonOptions, DryRun, with_common_options

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
    from cli.certificates import show_certificates
    from cli.interruption import run_async
    from cli.session import open_session

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
    from cli.certificates import rotate_certificates
    from cli.durations import seconds_of
    from cli.interruption import InterruptedBySignalError, run_async
    from cli.session import open_session

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
