"""``stream tap``: prints the packets of a step as they pass, until the run ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import orjson
import trio

from cli.display import exit_code_of
from cli.exit_code import ExitCode
from cli.render.output import escaped, json_text
from cli.render.packets import packet_line
from cli.runs import look_at
from cli.session import Session, patiently
from cli.stream_console import (
    ANSWER_SECONDS,
    LOOK_SECONDS,
    ConsoleAccess,
    ConsoleRoute,
    StreamOverError,
    explained,
    may_pass,
    open_console,
)
from core.api.objects import Object
from core.api.resource import STORY_RUN
from core.kube.errors import ConnectionLostError, DeadlineError, KubeError, NotFoundError
from core.kube.transport import ApiCall, open_lines
from hub.console_grants import ConsoleVerb, TapEnd

SILENCE_SECONDS: Final = 30.0
"""Without a byte, until the connection is given up; the hub says something every ten seconds."""
AWAY_SECONDS: Final = 120.0
"""How long a hub that has been there may be away: another one waits for the Lease of the first."""
END_SECONDS: Final = 60.0
"""From the end of the last stream to the end of its run."""
_MISSED_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class TapWish:
    """What is shown, and for how long."""

    direction: str = "both"
    rate: float = 10.0
    count: int | None = None
    seconds: float = math.inf
    """From the moment on in which the console answers."""


@dataclass(slots=True)
class _Shown:
    """What was printed so far."""

    session: Session
    step: str
    left: float
    missed: int = 0
    told_at: float = -math.inf
    is_connected: bool = False
    has_been_connected: bool = False
    limit: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Ends the command when its time is over."""

    def line(self, sample: Mapping[str, Any], text: str) -> None:
        if "missed" in sample:
            self.missed += int(sample["missed"])
            self.tell_missed()
            return
        options = self.session.options
        if options.output in ("json", "jsonl"):
            self.session.console.result(escaped(text))
        else:
            self.session.console.result(packet_line(sample, self.step, ascii_only=options.ascii_only))
        self.left -= 1

    def tell_missed(self, *, at_once: bool = False) -> None:
        """Say how many packets were not shown, every few seconds."""
        now = trio.current_time()
        if not self.missed or (now < self.told_at + _MISSED_SECONDS and not at_once):
            return
        if self.session.options.output in ("json", "jsonl"):
            self.session.console.result(json_text({"missed": self.missed}))
        else:
            sign = "..." if self.session.options.ascii_only else "…"
            self.session.console.result(f"{sign} {self.missed:,} more were not shown")
        self.missed, self.told_at = 0, now


async def tap(session: Session, run: Object, binding: Object, wish: TapWish) -> ExitCode:
    """Print packets until the run ends, or as many or as long as wished; returns the exit code.

    Raises:
        CommandError, KubeError: the hub does not answer, or refuses.
    """
    shown = _Shown(session, binding["spec"]["stepName"], math.inf if wish.count is None else wish.count)
    is_over = False
    try:
        with shown.limit:
            async with open_console(session, binding, ConsoleVerb.TAP) as console:
                is_over = await _until_over(console, wish, shown)
    finally:
        shown.tell_missed(at_once=True)
    return await _end_of(session, run) if is_over else ExitCode.DONE


async def _until_over(console: ConsoleAccess, wish: TapWish, shown: _Shown) -> bool:
    """Whether the run is over; False if the step has finished, or everything wished was shown."""
    since, patience = trio.current_time(), ANSWER_SECONDS
    while True:
        error: KubeError | None = None
        try:
            route = await console.route()
        except StreamOverError:
            return True
        if route is not None:
            try:
                match await _read(console, route, wish, shown):
                    case TapEnd.RUN_ENDED:
                        return True
                    case TapEnd.STEP_FINISHED:
                        shown.session.console.note(f"step {shown.step} has finished")
                        return False
                    case TapEnd.EXPIRED:
                        await console.ask()
                    case _ if shown.left <= 0:
                        return False
                    case _:
                        pass  # the hub has gone in the middle
            except KubeError as failed:
                if not may_pass(failed):
                    raise explained(failed, route) from failed
                error = failed
        if shown.is_connected:
            shown.session.console.note("the connection to the hub has ended; trying again")
            shown.is_connected, since, patience = False, trio.current_time(), AWAY_SECONDS
        if trio.current_time() >= since + patience:
            raise (explained(error, route) if error and route else await console.explain_silence()) from error
        await trio.sleep(LOOK_SECONDS)


async def _read(console: ConsoleAccess, route: ConsoleRoute, wish: TapWish, shown: _Shown) -> TapEnd | None:
    """Print what comes; returns why the hub has ended it, None if it did not say, or everything wished was shown."""
    params = (("direction", wish.direction), ("rate", f"{wish.rate:g}"))
    path, headers = f"{route.prefix}{console.path}/tap", tuple(route.headers.items())
    call = ApiCall("connect", "GET", path, "console", params, accept="*/*", headers=headers)
    async with route.client.open_call(call) as response, open_lines(response) as lines:
        if shown.has_been_connected:
            shown.session.console.note("the hub is back")
        else:
            shown.limit.deadline = trio.current_time() + wish.seconds
        shown.is_connected = shown.has_been_connected = True
        with trio.CancelScope(deadline=trio.current_time() + SILENCE_SECONDS) as scope:
            async for text in lines:
                scope.deadline = trio.current_time() + SILENCE_SECONDS
                sample = _sample(text)
                if (end := sample.get("end")) is not None:
                    return TapEnd(end)
                if sample:
                    shown.line(sample, text)
                if shown.left <= 0:
                    return None
    if scope.cancelled_caught:
        raise DeadlineError("the hub has said nothing for half a minute")
    return None


def _sample(text: str) -> dict[str, Any]:
    """
    Raises:
        ConnectionLostError: the line was cut off in the middle.
    """
    try:
        found = orjson.loads(text) if text.strip() else {}
    except orjson.JSONDecodeError as error:
        raise ConnectionLostError(f"the hub sent an incomplete line: {error}") from None
    return found if isinstance(found, dict) else {}


async def _end_of(session: Session, run: Object) -> ExitCode:
    """The exit code of a run whose streams have ended; it is reported a moment later."""
    metadata = run["metadata"]
    with trio.move_on_after(END_SECONDS):
        while True:
            try:
                stored = await patiently(
                    partial(session.client.get, STORY_RUN, metadata["name"], metadata["namespace"])
                )
            except NotFoundError:
                session.console.note(f"{metadata['name']} was deleted")
                return ExitCode.RUN_CANCELED
            if (stored.get("status") or {}).get("finishedAt"):
                view = await patiently(partial(look_at, session, stored))
                session.console.note(f"{view.name} {view.word}")
                return exit_code_of(view)
            await trio.sleep(LOOK_SECONDS)
    session.console.note(f"the step has finished, and {metadata['name']} continues")
    return ExitCode.DONE
