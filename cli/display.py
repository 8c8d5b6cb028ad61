"""Show a followed run until it ends: a tree on a terminal, a line per transition in a pipe."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Final, Protocol

import trio

from bubu_contract.instants import format_instant
from cli.exit_code import ExitCode, of_phase
from cli.problem import CommandError
from cli.render.flow import FlowLines
from cli.render.progress import Styled, transitions, tree
from cli.runs import Following
from cli.session import Session
from core.api.phases import Phase
from core.engine.clock import system_now
from views.gates import open_gates_of
from views.run_view import RunView
from views.sign import word_of
from views.signals import SignalView

REDRAW_SECONDS: Final = 0.25
LINES_SECONDS: Final = 0.02
TICK_SECONDS: Final = 1.0


async def show_until_done(
    session: Session, following: Following, *, timeout: float | None = None, exit_on_gate: bool = False
) -> RunView:
    """Draw every change until the run is terminal, or with ``exit_on_gate`` waits at a gate; returns its last view.

    Raises:
        CommandError: ``timeout`` seconds passed (code 124), or the run was deleted.
    """
    show = _show_for(session)
    pause = REDRAW_SECONDS if session.console.interactive else LINES_SECONDS
    with trio.move_on_after(timeout if timeout is not None else float("inf")):
        while True:
            view = following.view()
            show.draw(view, following.problem)
            if view.terminal or (exit_on_gate and open_gates_of(following.run, following.story)):
                return view
            if following.deleted:
                raise CommandError(f"StoryRun {view.name!r} was deleted while it was watched")
            changed = following.changed
            with trio.move_on_after(TICK_SECONDS):
                await changed.wait()
            await trio.sleep(pause)
    view = following.view()
    show.draw(view, following.problem)
    raise CommandError(
        f"StoryRun {view.name!r} is still {view.phase or Phase.PENDING} after {timeout:g} s",
        code=ExitCode.WAIT_TIMED_OUT,
        remedy=f"the run continues; look again with: {session.command('watch', view.name)}",
    )


def exit_code_of(view: RunView) -> ExitCode:
    """The exit code for a run that was shown until it ended, or until it waited at a gate."""
    if not view.terminal:
        return ExitCode.WAITS_AT_GATE
    assert view.phase is not None, "terminal runs have a phase"
    return of_phase(view.phase)


class _Show(Protocol):
    def draw(self, view: RunView, problem: str) -> None:
        """Show changes; ``problem`` says why there may be none."""


def _show_for(session: Session) -> _Show:
    if session.options.quiet:
        return _Silent()
    return _Tree(session) if session.console.interactive else _Lines(session)


class _Silent:
    def draw(self, view: RunView, problem: str) -> None:
        """Draw nothing: ``--quiet``."""


class _Lines:
    """Prints one line for each transition, in a form for grep."""

    def __init__(self, session: Session) -> None:
        self._console = session.console
        self._ascii = session.options.ascii_only
        self._before: RunView | None = None
        self._problem = ""
        self._flows = FlowLines()
        self._signals = SignalLines()

    def draw(self, view: RunView, problem: str) -> None:
        now = system_now()
        changes = transitions(self._before, view, now, ascii_only=self._ascii)
        signals = self._signals.lines(view, now)
        end = len(changes) - bool(changes and view.terminal)  # the end of the run is its last line
        for line in (*changes[:end], *signals, *self._flows.lines(view, now), *changes[end:]):
            self._console.note(line)
        if problem and not self._problem:
            self._console.note(f"{problem}; trying again")
        self._before, self._problem = view, problem


class _Tree:
    """A block of lines that is redrawn in place when it has changed."""

    def __init__(self, session: Session) -> None:
        self._console = session.console
        self._ascii = session.options.ascii_only
        self._drawn: list[Styled] = []

    def draw(self, view: RunView, problem: str) -> None:
        width, height = self._console.size.columns - 1, self._console.size.lines
        lines = tree(view, system_now(), width=width, rows=height - 3, ascii_only=self._ascii)
        if problem:
            lines.append((problem[:width], "yellow"))
        if lines == self._drawn:
            return
        up = f"\x1b[{len(self._drawn)}F\x1b[J" if self._drawn else ""
        sys.stderr.write(up + "".join(f"{self._console.styled(*line, stream=sys.stderr)}\n" for line in lines))
        sys.stderr.flush()
        self._drawn = lines


SIGNAL_EVERY: Final = timedelta(seconds=1)
"""Between two lines about the signals of one step; the newest one is printed."""


class SignalLines:
    """A line for each step that has sent another signal since its last line."""

    def __init__(self) -> None:
        self._printed: dict[str, tuple[datetime, SignalView]] = {}

    def lines(self, view: RunView, now: datetime) -> list[str]:
        """The lines that are due; a step that has ended does not wait for its turn."""
        found = []
        for step in view.steps:
            signal = step.signal
            printed_at, printed = self._printed.get(step.name, (None, None))
            if signal is None or signal == printed:
                continue
            if step.at_work and printed_at is not None and now - printed_at < SIGNAL_EVERY:
                continue
            self._printed[step.name] = now, signal
            stamp = format_instant(signal.at or now)
            found.append(f"{stamp} {view.name} {step.name} {word_of(step.phase)}  {signal}")
        return found
