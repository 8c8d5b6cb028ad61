"""``cache list`` and ``cache clear``: the output cache."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import ALL_NAMESPACES, DRY_RUN, QUESTIONS, CommonOptions, with_common_options
from cli.problem import UsageError

EngramOption = Annotated[str, typer.Option("--engram", help="Only entries of this Engram.")]


def register(app: typer.Typer) -> None:
    cache = typer.Typer(
        help="Cached outputs of steps. An equal step takes the cached output instead of running.", no_args_is_help=True
    )
    cache.command("list")(with_common_options(list_entries, also=ALL_NAMESPACES))
    cache.command("clear")(with_common_options(clear, also=ALL_NAMESPACES | QUESTIONS | DRY_RUN))
    app.add_typer(cache, name="cache")


def list_entries(options: CommonOptions, engram: EngramOption = "") -> None:
    """List the entries of the output cache, newest first: Engram, version, key, size, expiry, and the run that made it.

    The command reads on this machine, with your permissions. -o wide adds the StepRun and the whole key.
    """
    from cli.interruption import run_async
    from cli.output_cache import list_cache
    from cli.session import open_session
    from core.workloads.cache_entry import CacheSelection

    async def work() -> None:
        async with open_session(options) as session:
            await list_cache(session, CacheSelection(engram))

    run_async(options, work)


def clear(
    options: CommonOptions,
    engram: EngramOption = "",
    version: Annotated[str, typer.Option("--version", help="Only entries of this version of the Engram.")] = "",
    key: Annotated[str, typer.Option("--key", help="Only the entry with this key; a prefix is enough.")] = "",
    expired: Annotated[bool, typer.Option("--expired", help="Only entries that have expired.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All entries of the namespace.")] = False,
) -> None:
    """Delete entries of the output cache; steps execute again. Asks first; --dry-run=client lists them.

    An entry must meet all conditions. Data stored beside entries is deleted with the last entry that refers to it.
    """
    from cli.interruption import run_async
    from cli.output_cache import clear_cache
    from cli.session import open_session
    from core.workloads.cache_entry import CacheSelection

    selection = CacheSelection(engram, version, key.lower(), expired)
    if everything is not (selection == CacheSelection()):
        raise UsageError(
            "give either --all or conditions", remedy="for example: bobrapet cache clear --engram embed-texts --expired"
        )

    async def work() -> None:
        async with open_session(options) as session:
            await clear_cache(session, selection)

    run_async(options, work)
