"""``effects``: what the steps of a run have done outside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import typer

from bubu_contract.instants import format_precise_instant
from cli.arguments import RunArgument
from cli.completing import is_called
from cli.options import CommonOptions, TimeStyle, with_common_options
from cli.render.output import render
from cli.render.table import table
from cli.render.time import age, time_left
from core.api.conditions import truncated
from core.api.objects import Object
from core.api.resource import EFFECT_CLAIM
from views.effects import EffectView, effects_of
from views.text import one_line

if is_called():
    from cli.interruption import run_async
    from cli.runs import find_run, step_runs_of
    from cli.session import Session, open_session
    from core.engine.clock import system_now


def register(app: typer.Typer) -> None:
    app.command("effects")(with_common_options(effects))


def effects(options: CommonOptions, run: RunArgument) -> None:
    """List the effects of a run that happen once: the state of each, which attempt holds it, and until when.

    The steps claim them with execute_once of the SDK. -o wide adds takeovers and the names of the claims.
    """

    async def work() -> None:
        async with open_session(options) as session:
            found = await find_run(session, run)
            now = system_now()
            claimed = await effects_of_run(session, found, now)
            if claimed or options.output not in ("table", "wide", "name"):
                session.console.result(shown(session, claimed, now))
            else:
                session.console.note(f"no step of {found['metadata']['name']} has claimed an effect")

    run_async(options, work)


_HOLDER_WIDTH: Final = 40
_DETAILS_WIDTH: Final = 60


async def effects_of_run(session: Session, run: Object, now: datetime) -> list[EffectView]:
    """The effects of all steps of the run.

    Raises:
        ForbiddenError: the user may not read StepRuns or EffectClaims.
    """
    step_runs = await step_runs_of(session, run)
    if not step_runs:
        return []
    claims = (await session.client.list(EFFECT_CLAIM, run["metadata"]["namespace"])).items
    return effects_of(step_runs, claims, now)


def shown(session: Session, effects: Sequence[EffectView], now: datetime) -> str:
    """The effects in the output format of the flags.

    Raises:
        UsageError: there is no such format.
    """
    options = session.options
    if options.output == "name":
        return "\n".join(f"effectclaim/{effect.claim}" for effect in effects)
    if options.output not in ("table", "wide"):
        return render([document_of(effect) for effect in effects], options.output, single=False)
    wide, iso = options.output == "wide", options.time_style is TimeStyle.ISO
    rows = []
    for effect in effects:
        details = one_line(json.dumps(effect.details, ensure_ascii=False)) if effect.details else ""
        left = "expired" if effect.is_expired else time_left(effect.until, now, iso=iso) if effect.until else ""
        row = [
            effect.step,
            effect.key,
            effect.phase,
            effect.holder if wide else truncated(effect.holder, _HOLDER_WIDTH),
        ]
        row += [age(effect.since, now, iso=iso), left, details if wide else truncated(details, _DETAILS_WIDTH)]
        rows.append([*row, *([str(effect.takeovers), effect.claim] if wide else [])])
    headers = ["STEP", "EFFECT", "PHASE", "HOLDER", "SINCE", "LEASE-UNTIL", "DETAILS"]
    return table(headers + (["TAKEOVERS", "CLAIM"] if wide else []), rows, no_headers=options.no_headers)


def document_of(effect: EffectView) -> Object:
    """An effect as data: all fields are always present; instants are RFC 3339, null if there is none."""
    return {
        "step": effect.step,
        "effect": effect.key,
        "phase": str(effect.phase),
        "reason": str(effect.reason),
        "message": effect.message,
        "holder": effect.holder,
        "since": _instant(effect.since),
        "leaseUntil": _instant(effect.until),
        "takeovers": effect.takeovers,
        "claim": effect.claim,
        "details": effect.details,
    }


def _instant(instant: datetime | None) -> str | None:
    return format_precise_instant(instant) if instant is not None else None
