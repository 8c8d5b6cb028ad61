"""``impulses``: what listens for events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import typer

from cli.completing import is_called
from cli.options import ALL_NAMESPACES, CommonOptions, TimeStyle, with_common_options
from cli.render.output import render
from cli.render.table import table
from cli.render.time import age
from views.impulses import ImpulseView, view_impulse

if is_called():
    from cli.impulses import list_impulses
    from cli.interruption import run_async
    from cli.session import open_session
    from core.engine.clock import system_now


def register(app: typer.Typer) -> None:
    app.command("impulses")(with_common_options(impulses, also=ALL_NAMESPACES))


def impulses(options: CommonOptions) -> None:
    """List Impulses: whether their listeners are up, and what they have started.

    RECEIVED counts events, LAUNCHED the events that started a run, FAILED the rejected ones, THROTTLED those that had
    to wait. -o wide also shows why one is down; `bobrapet why impulse/NAME` explains it.
    """

    async def work() -> None:
        async with open_session(options) as session:
            found = await list_impulses(session)
            if options.output not in ("table", "wide"):
                session.console.result(render(found, options.output, single=False))
            elif found:
                views = [view_impulse(impulse) for impulse in found]
                session.console.result(table_of_impulses(views, options, system_now()))
            else:
                where = "any namespace" if options.all_namespaces else f"namespace {session.namespace}"
                session.console.note(f"no Impulses in {where}")

    run_async(options, work)


def table_of_impulses(views: Sequence[ImpulseView], options: CommonOptions, now: datetime) -> str:
    headers = ["NAME", "TEMPLATE", "STORY", "MODE", "READY", "PHASE", "RECEIVED", "LAUNCHED", "FAILED", "THROTTLED"]
    headers = (["NAMESPACE"] if options.all_namespaces else []) + [*headers, "LAST-TRIGGER"]
    headers += ["MESSAGE"] if options.output == "wide" else []
    return table(headers, [_row(view, options, now) for view in views], no_headers=options.no_headers)


def _row(view: ImpulseView, options: CommonOptions, now: datetime) -> list[str]:
    numbers = (view.received, view.launched, view.failed, view.throttled)
    is_iso = options.time_style is TimeStyle.ISO
    last = age(view.last_trigger, now, iso=is_iso) if view.last_trigger is not None else "never"
    row = [view.namespace] if options.all_namespaces else []
    row += [view.name, view.template, view.story, view.mode, "yes" if view.is_ready else "no", str(view.phase or "")]
    row += [*map(str, numbers), last]
    return row + ([view.message] if options.output == "wide" else [])
