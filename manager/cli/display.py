"""Show a followed run until it ends: a tree on a terminal, a line per transition in a pipe."""

from __future__ import annotations

import sys
from typing import Final

import trio

from core.api.phases import Phase
from core.engine.clock import system_now
from manager.cli.exit_code import ExitCode, of_phase
from manager.cli.problem import CommandError
from manager.cli.render.progress import Styled, transitions, tree
from manager.cli.runs import Following
from manager.cli.session import Session
from manager.cli.view import RunView

REDRAW_SECONDS: Final = 0.25
TICK_SECONDS: Final = 1.0


async def show_until_done(session: Session, following: Following, *, timeout: float | None = None) -> RunView:
    """Draw every change until the run is terminal; returns its last view.

    Raises:
        CommandError: ``timeout`` seconds passed (code 124), or the run was deleted.
    """
    if session.options.quiet:
        show: _Silent | _Lines | _Tree = _Silent()
    elif session.console.interactive:
        show = _Tree(session)
    else:
        show = _Lines()
    with trio.move_on_after(timeout if timeout is not None else float("inf")):
        while True:
            view = following.view()
            show.draw(view)
            if view.terminal:
                show.close(view)
                return view
            if following.deleted:
                raise CommandError(f"StoryRun {view.name!r} was deleted while it was watched")
            changed = following.changed
            with trio.move_on_after(TICK_SECONDS):
                await changed.wait()
            await trio.sleep(REDRAW_SECONDS if session.console.interactive else 0.02)
    view = following.view()
    show.close(view)
    raise CommandError(
        f"StoryRun {view.name!r} is still {view.phase or Phase.PENDING} after {timeout:g} s",
        code=ExitCode.WAIT_TIMED_OUT,
        remedy=f"it goes on; look again with: bobrapet watch {view.name}",
    )


def exit_code_of(view: RunView) -> ExitCode:
    assert view.phase is not None, "asked only of terminal runs"
    return of_phase(view.phase)


class _Silent:
    def draw(self, view: RunView) -> None:
        """Nothing: ``--quiet``."""

    def close(self, view: RunView) -> None:
        """Nothing: ``--quiet``."""


class _Lines:
    """One greppable line per transition."""

    def __init__(self) -> None:
        self._before: RunView | None = None

    def draw(self, view: RunView) -> None:
        for line in transitions(self._before, view, system_now()):
            sys.stderr.write(line + "\n")
        sys.stderr.flush()
        self._before = view

    def close(self, view: RunView) -> None:
        self.draw(view)


class _Tree:
    """A block of lines that is redrawn in place."""

    def __init__(self, session: Session) -> None:
        self._console = session.console
        self._ascii = session.options.ascii_only
        self._height = 0

    def draw(self, view: RunView) -> None:
        lines = tree(view, system_now(), width=self._console.width - 1, ascii_only=self._ascii)
        up = f"\x1b[{self._height}F\x1b[J" if self._height else ""
        sys.stderr.write(up + "".join(f"{self._styled(line)}\n" for line in lines))
        sys.stderr.flush()
        self._height = len(lines)

    def close(self, view: RunView) -> None:
        self.draw(view)

    def _styled(self, line: Styled) -> str:
        return self._console.styled(*line)
