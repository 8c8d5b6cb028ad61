"""``storage usage`` and ``storage sweep``: what runs have stored."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import ALL_NAMESPACES, DRY_RUN, QUESTIONS, CommonOptions, with_common_options


def register(app: typer.Typer) -> None:
    storage = typer.Typer(help="What runs have stored in the operator's object store.", no_args_is_help=True)
    storage.command("usage")(with_common_options(usage, also=ALL_NAMESPACES))
    storage.command("sweep")(with_common_options(sweep, also=ALL_NAMESPACES | QUESTIONS | DRY_RUN))
    app.add_typer(storage, name="storage")


def usage(options: CommonOptions) -> None:
    """Show how much is stored: by kind (outputs, inputs, logs, the output cache), and by run, largest first.

    The command reads on this machine, with your permissions. With -A it needs to list namespaces.
    """
    from cli.interruption import run_async
    from cli.session import open_session
    from cli.storage_usage import show_usage

    async def work() -> None:
        async with open_session(options) as session:
            await show_usage(session)

    run_async(options, work)


def sweep(
    options: CommonOptions,
    delete: Annotated[bool, typer.Option("--delete", help="Delete what was found.")] = False,
    older_than: Annotated[str, typer.Option("--older-than", help="Only objects that were written longer ago.")] = "1h",
) -> None:
    """List stored objects of runs that do not exist any more; with --delete, delete them.

    An object stays if its StepRun or StoryRun exists, if a StoryRun, StepRun or StoryTrigger of the namespace refers to
    it, directly or through another object, or if it belongs to the output cache.
    """
    from cli.durations import duration_of
    from cli.interruption import run_async
    from cli.session import open_session
    from cli.storage_sweep import GRACE
    from cli.storage_sweep import sweep as sweep_store

    grace = duration_of("--older-than", older_than) or GRACE

    async def work() -> None:
        async with open_session(options) as session:
            await sweep_store(session, delete=delete, older_than=grace)

    run_async(options, work)
