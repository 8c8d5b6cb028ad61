"""Random realtime Stories: streams with primitives between them, clean-up, and the behaviour of their containers."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from core.api.objects import Object
from fuzz.engine.adapters import Engram
from fuzz.engine.case import Case
from fuzz.engine.draws import below, one_in, pick, shuffled
from fuzz.engine.strategies_story import INPUTS
from fuzz.engine.streams import FRAIL, HASTY, LIVE, STREAMS, realtime, stream
from fuzz.engine.worker import Act, Script

NAMES: Final = ("a", "b-b", "c", "d")
ENGRAMS: Final = {"work": Engram(), **STREAMS}
KEPT: Final[tuple[Object, ...]] = (
    {"realtime": {"ttlSecondsAfterFinished": 2}, "job": {"storyRunRetentionSeconds": 30}},
    {"realtime": {"ttlSecondsAfterFinished": -1}, "job": {"ttlSecondsAfterFinished": 1, "storyRunRetentionSeconds": 9}},
    {"job": {"ttlSecondsAfterFinished": 0, "storyRunRetentionSeconds": 0}},
)


def scripts(draw: st.DrawFn, position: int) -> tuple[Script, ...]:
    """The scripts of up to two attempts. Every duration of a case is different, so that no two ends coincide."""
    found = []
    for attempt in range(1 + draw(below(2))):
        act = pick(draw, (Act.HANG, Act.HANG, Act.SUCCEED, Act.EXIT))
        found.append(
            Script(
                act,
                0.0 if act is Act.HANG else 0.97 * draw(below(9)) + 0.0131 * position + 0.0017 * attempt,
                exit_code=pick(draw, (1, 137, 143)) if act is Act.EXIT else 0,
                exit_lag_seconds=pick(draw, (0.0, 0.0, 0.73, 1e6)),
                grace_seconds=pick(draw, (0.0, 0.3, 2.2)),
            )
        )
    return tuple(found)


@st.composite
def realtime_stories(draw: st.DrawFn, *, max_streams: int = 4) -> Any:
    """A spec, and the scripts of its steps."""
    names = NAMES[: 1 + draw(below(max_streams))]
    steps: list[Object] = []
    played: dict[str, tuple[Script, ...]] = {}
    for position, name in enumerate(names):
        needs = [need for need in names[:position] if one_in(draw, 2)]
        if needs and one_in(draw, 3):
            steps.append({"name": f"p{position}", "type": pick(draw, ("condition", "sleep", "stop")), "needs": needs})
            needs = [f"p{position}"]
        step = stream(name, *needs, ref=pick(draw, (LIVE, LIVE, FRAIL, FRAIL, HASTY, "missing")))
        step |= pick(draw, ({}, {"if": "{{ packet.loud }}"}, {"with": {"n": "{{ inputs.n }}"}}))
        step |= {"allowFailure": True} if one_in(draw, 5) else {}
        steps.append(step)
        played[name] = scripts(draw, position)
    more: Object = {}
    for group, cleaner in (("compensations", "undo"), ("finally", "sweep")):
        if one_in(draw, 3):
            more[group] = [{"name": cleaner, "ref": {"name": "work"}}]
    policy: Object = {}
    if one_in(draw, 3):
        policy["retries"] = {"continueOnStepFailure": True}
    if one_in(draw, 6):
        policy["timeouts"] = {"story": pick(draw, ("5s", "1m"))}
    if one_in(draw, 6):
        policy["concurrency"] = 1
    if one_in(draw, 6):
        policy["execution"] = pick(draw, KEPT)
    if policy:
        more["policy"] = policy
    return realtime(*shuffled(draw, steps), drain_seconds=pick(draw, (0, 0, 3, 31)), **more), played


@st.composite
def realtime_cases(draw: st.DrawFn, *, max_streams: int = 4) -> Case:
    spec, played = draw(realtime_stories(max_streams=max_streams))
    return Case(spec, played, ENGRAMS, INPUTS)
