"""``gates``: what waits for an approval."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import typer

from bubu_contract.instants import format_instant
from cli.completing import is_called
from cli.options import ALL_NAMESPACES, CommonOptions, TimeStyle, with_common_options
from cli.render.output import render
from cli.render.table import table
from cli.render.time import age, time_left
from core.api.objects import Object
from core.api.phases import TERMINAL_PHASES
from core.api.resource import STORY, STORY_RUN
from core.kube.errors import ForbiddenError

if is_called():
    from cli.interruption import run_async
    from cli.session import Session, open_session
    from core.engine.clock import system_now
    from views.gates import GateView, gates_of


def register(app: typer.Typer) -> None:
    app.command("gates")(with_common_options(gates, also=ALL_NAMESPACES))


def gates(options: CommonOptions) -> None:
    """List the gates at which runs wait for a decision, the longest wait first.

    -o wide adds the commands to decide, -o name gives RUN/GATE for `bobrapet approve`.
    """

    async def work() -> None:
        async with open_session(options) as session:
            found = await open_gates(session)
            if found or options.output not in ("table", "wide", "name"):
                session.console.result(shown(session, found, system_now()))
            else:
                where = "any namespace" if options.all_namespaces else f"namespace {session.namespace}"
                session.console.note(f"no run in {where} waits at a gate")

    run_async(options, work)


async def open_gates(session: Session) -> list[GateView]:
    """Open gates, the longest wait first. If the user may not read Stories: only gates that the runs show."""
    live = ",".join(f"status.phase!={phase}" for phase in sorted(TERMINAL_PHASES))
    runs = (await session.client.list(STORY_RUN, session.list_namespace, field_selector=live)).items
    stories = await _stories(session) if runs else {}
    gates = [gate for run in runs for gate in gates_of(run, stories.get(_story_key(run))) if gate.is_open]
    return sorted(gates, key=lambda gate: (gate.since is None, gate.since, gate.namespace, gate.run, gate.name))


def shown(session: Session, gates: Sequence[GateView], now: datetime) -> str:
    """The gates in the output format of the flags.

    Raises:
        UsageError: there is no such format.
    """
    options = session.options
    if options.output == "name":
        return "\n".join(f"{gate.run}/{gate.name}" for gate in gates)
    if options.output not in ("table", "wide"):
        return render([_document(session, gate) for gate in gates], options.output, single=False)
    iso = options.time_style is TimeStyle.ISO
    headers = ["NAMESPACE", "RUN", "GATE", "SINCE", "UNTIL", "STORY"]
    headers += ["APPROVE"] if options.output == "wide" else []
    rows = []
    for gate in gates:
        row = [gate.namespace, gate.run, gate.name, age(gate.since, now, iso=iso), time_left(gate.until, now, iso=iso)]
        rows.append([*row, gate.story, *([_command(session, gate, "approve")] if options.output == "wide" else [])])
    return table(headers, rows, no_headers=options.no_headers)


async def _stories(session: Session) -> dict[tuple[str, str], Object]:
    """Stories by namespace and name; those of other namespaces only if the user may list all."""
    for namespace in dict.fromkeys((None, session.list_namespace)):
        try:
            found = await session.client.list(STORY, namespace)
        except ForbiddenError:
            continue
        return {(story["metadata"]["namespace"], story["metadata"]["name"]): story for story in found.items}
    return {}


def _story_key(run: Object) -> tuple[str, str]:
    reference = run["spec"].get("storyRef") or {}
    return reference.get("namespace") or run["metadata"]["namespace"], reference.get("name", "")


def _document(session: Session, gate: GateView) -> Object:
    return {
        "namespace": gate.namespace,
        "run": gate.run,
        "gate": gate.name,
        "story": gate.story,
        "since": format_instant(gate.since) if gate.since else None,
        "until": format_instant(gate.until) if gate.until else None,
        "onTimeout": gate.on_timeout,
        "message": gate.message,
        "approve": _command(session, gate, "approve"),
        "reject": _command(session, gate, "reject"),
    }


def _command(session: Session, gate: GateView, verb: str) -> str:
    """The command to type; it names the namespace if the list may have several."""
    return session.command_in(gate.namespace, verb, gate.run, gate.name)
