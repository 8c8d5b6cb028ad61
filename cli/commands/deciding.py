"""``gates``, ``approve``, ``reject``: decisions that runs wait for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from cli.arguments import GateArgument, RunAndGateArgument
from cli.options import ALL_NAMESPACES, DRY_RUN, CommonOptions, with_common_options

DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="KEY=TEXT",
        help="key=text; later steps read it as {{ steps.GATE.output.KEY }}. May be repeated.",
    ),
]
NoDataOption = Annotated[list[str] | None, typer.Option("--data", hidden=True)]
ReasonOption = Annotated[str, typer.Option("--message", "-m", help="The reason; it becomes the message of the step.")]


def register(app: typer.Typer) -> None:
    app.command("gates")(with_common_options(gates, also=ALL_NAMESPACES))
    app.command("approve")(with_common_options(approve, also=DRY_RUN))
    app.command("reject")(with_common_options(reject, also=DRY_RUN))


def gates(options: CommonOptions) -> None:
    """List the gates at which runs wait for a decision, the longest wait first.

    -o wide adds the commands to decide, -o name gives RUN/GATE for `bobrapet approve`.
    """
    from cli.inbox import open_gates, shown
    from cli.interruption import run_async
    from cli.session import open_session
    from core.engine.clock import system_now

    async def work() -> None:
        async with open_session(options) as session:
            found = await open_gates(session)
            if found or options.output not in ("table", "wide", "name"):
                session.console.result(shown(session, found, system_now()))
            else:
                where = "any namespace" if options.all_namespaces else f"namespace {session.namespace}"
                session.console.note(f"no run in {where} waits at a gate")

    run_async(options, work)


def approve(
    options: CommonOptions,
    run: RunAndGateArgument,
    gate: GateArgument = "",
    reason: ReasonOption = "",
    data: DataOption = None,
) -> None:
    """Let a run continue past a gate. A decision is final; it may be made before the run reaches the gate.

    GATE is the name of the step. For a branch it is the path (fan/approve), or the last part of the path if only one
    gate has it. You may leave GATE out if the run waits at only one gate.

    --data does not name the data folder of the embedded cluster here; set $BOBRAPET_DATA for that.
    """
    _decide(options, run, gate, reason, "Approved", data or ())


def reject(
    options: CommonOptions,
    run: RunAndGateArgument,
    gate: GateArgument = "",
    reason: ReasonOption = "",
    data: NoDataOption = None,
) -> None:
    """Fail a gate of a run. A decision is final; it may be made before the run reaches the gate.

    GATE is the name of the step. For a branch it is the path (fan/approve), or the last part of the path if only one
    gate has it. You may leave GATE out if the run waits at only one gate.

    --data does not name the data folder of the embedded cluster here; set $BOBRAPET_DATA for that.
    """
    _decide(options, run, gate, reason, "Rejected", data or ())


def _decide(options: CommonOptions, run: str, gate: str, reason: str, state: str, pairs: Sequence[str]) -> None:
    from cli.approvaldata import no_data, parse_data
    from cli.deciding import decide
    from cli.interruption import run_async
    from cli.session import open_session

    data = parse_data(pairs) if state == "Approved" else no_data(pairs)
    if not gate:
        run, _, gate = run.partition("/")

    async def work() -> None:
        async with open_session(options) as session:
            await decide(session, run, gate, state, reason=reason, data=data, dry_run=options.dry_run)

    run_async(options, work)
