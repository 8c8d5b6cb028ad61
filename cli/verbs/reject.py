"""``reject``: refuse what a gate of a run asks."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.arguments import GateArgument, RunAndGateArgument
from cli.options import DRY_RUN, CommonOptions, with_common_options
from cli.verbs.approve import ReasonOption, decide_by_flags

NoDataOption = Annotated[list[str] | None, typer.Option("--data", hidden=True)]


def register(app: typer.Typer) -> None:
    app.command("reject")(with_common_options(reject, also=DRY_RUN))


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
    decide_by_flags(options, run, gate, reason, "Rejected", data or ())
