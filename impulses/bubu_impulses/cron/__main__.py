"""The program of a cron Impulse's container, and of ``backfill``."""

from __future__ import annotations

import os
import sys

from bubu_impulses.cron import backfill
from bubu_impulses.cron.config import ConfigurationError, CronConfig, schedules
from bubu_impulses.cron.listener import listen
from bubu_impulses.cron.ports import ContextStarter, SystemWallClock
from bubu_sdk import AsyncImpulseContext, EngramError, Impulse, impulse, process
from bubu_sdk.kube import KubeError


@impulse(backend="trio")
async def main(ctx: AsyncImpulseContext[CronConfig]) -> None:
    """Follow the schedules of the configuration."""
    try:
        found = schedules(ctx.config, ctx.name)
    except ConfigurationError as error:
        ctx.log.error("the configuration cannot be used: %s", error)  # noqa: TRY400 - the message says everything
        raise SystemExit(1) from error
    ctx.log.info("following %d schedules", len(found))
    await listen(found, ContextStarter(ctx), SystemWallClock(), ctx.log)


def backfill_of(wanted: backfill.Range) -> Impulse:
    """An Impulse that makes the starts of a range, and ends."""

    async def work(ctx: AsyncImpulseContext[CronConfig]) -> None:
        try:
            found = backfill.starts(schedules(ctx.config, ctx.name), wanted)
        except (ConfigurationError, backfill.BackfillError) as error:
            ctx.log.error("%s", error)  # noqa: TRY400 - the message says everything
            raise SystemExit(2) from error
        if wanted.dry_run:
            print(*(start.key for start in found), sep="\n", flush=True)
            return
        failures = await backfill.make(found, ContextStarter(ctx))
        print(f"{len(found) - failures} of {len(found)} starts are submitted", flush=True)
        if failures:
            raise SystemExit(1)

    return Impulse(work, "trio")


def command(arguments: list[str]) -> None:
    """Run what the command line asks for, and end the process."""
    if not arguments:
        main.run()
    if arguments[0] != "backfill":
        sys.exit(f"unknown command {arguments[0]!r}; use 'backfill', or no argument to run the Impulse")
    wanted = backfill.parse(arguments[1:])
    if wanted.impulse:
        try:
            backfill.adopt(os.environ, process.connect(os.environ), wanted)
        except (EngramError, KubeError) as error:
            sys.exit(f"the Impulse cannot be read: {error}")
    backfill_of(wanted).run()


if __name__ == "__main__":
    command(sys.argv[1:])
