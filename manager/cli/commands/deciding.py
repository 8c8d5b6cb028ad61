"""``gates``, ``approve``, ``reject``: decisions that runs wait for."""

from __future__ import annotations

from typing import Annotated

import typer

from manager.cli.arguments import GateArgument, RunAndGateArgument
from manager.cli.options import CommonOptions, with_common_options

ReasonOption = Annotated[str, typer.Option("--message", "-m", help="Why; becomes the message of the step.")]


def register(app: typer.Typer) -> None:
    for name, command in (("gates", gates), ("approve", approve), ("reject", reject)):
        app.command(name)(with_common_options(command))


def gates(options: CommonOptions) -> None:
    """List the gates at which runs wait for a decision, the longest wait first.

    -o wide adds what to type, -o name gives RUN/GATE for `bobrapet approve`.
    """
    from core.engine.clock import system_now
    from manager.cli.inbox import open_gates, shown
    from manager.cli.interruption import run_async
    from manager.cli.session import open_session

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
    options: CommonOptions, run: RunAndGateArgument, gate: GateArgument = "", reason: ReasonOption = ""
) -> None:
    """Let a run go on past a gate. A decision stays; it may be made before the run comes to the gate.

    GATE is the step's name; of a branch its path (fan/approve), or its last part where only one gate has it.
    """
    _decide(options, run, gate, reason, "Approved")


def reject(options: CommonOptions, run: RunAndGateArgument, gate: GateArgument = "", reason: ReasonOption = "") -> None:
    """Fail a gate of a run. A decision stays; it may be made before the run comes to the gate.

    GATE is the step's name; of a branch its path (fan/approve), or its last part where only one gate has it.
    """
    _decide(options, run, gate, reason, "Rejected")


def _decide(options: CommonOptions, run: str, gate: str, reason: str, state: str) -> None:
    from manager.cli.deciding import decide
    from manager.cli.interruption import run_async
    from manager.cli.session import open_session

    if not gate:
        run, _, gate = run.partition("/")

    async def work() -> None:
        async with open_session(options) as session:
            await decide(session, run, gate, state, reason=reason, dry_run=options.dry_run)

    run_async(options, work)
