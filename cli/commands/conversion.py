"""``conversion off``: serve objects only as they are stored, before the operator is removed."""

from __future__ import annotations

import typer

from cli.options import DRY_RUN, CommonOptions, DryRun, with_common_options


def register(app: typer.Typer) -> None:
    conversion = typer.Typer(help="The conversion between versions of Stories.", no_args_is_help=True)
    conversion.callback()(_group)
    conversion.command("off")(with_common_options(off, also=DRY_RUN))
    app.add_typer(conversion, name="conversion")


def _group() -> None:
    """The conversion between versions of Stories."""


def off(options: CommonOptions) -> None:
    """Serve Stories only in the version in which they are stored, so that nothing needs the operator's webhook.

    Do this before the operator is removed and the definitions stay: Stories could neither be read in v1beta1 nor
    deleted with their namespace. Helm does it by itself. The next installation serves all versions again.
    """
    from cli.conversion import switch_conversion_off
    from cli.interruption import run_async
    from cli.session import open_session

    async def work() -> None:
        async with open_session(options) as session:
            await switch_conversion_off(session, dry_run=options.dry_run is not DryRun.NONE)

    run_async(options, work)
