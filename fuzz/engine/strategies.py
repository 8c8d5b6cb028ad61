"""Random cases with every feature that the engine supports; sizes are drawn first, so that failures shrink well."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from core.engine.ports import WORKER
from core.policy.retry import ANY, TRANSIENT, BackoffStrategy, RetryPolicy
from fuzz.engine.adapters import Engram
from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble
from fuzz.engine.draws import below, one_in, pick, shuffled
from fuzz.engine.process import Fault
from fuzz.engine.stored import stored
from fuzz.engine.watches import Delivery
from fuzz.engine.worker import Act, Script

ENGRAMS = {
    "work": Engram(),
    "stubborn": Engram(
        retry=RetryPolicy(max_retries=2, delay=timedelta(seconds=1.3), backoff=BackoffStrategy.EXPONENTIAL),
    ),
    "hasty": Engram(timeout_seconds=2.6, retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=0.9))),
    "eager": Engram(retry=RetryPolicy(max_retries=2, delay=timedelta(seconds=0.8), retry_on=(ANY,))),
    "choosy": Engram(
        executor=WORKER, retry=RetryPolicy(max_retries=2, delay=timedelta(seconds=0.6), retry_on=(TRANSIENT, 125))
    ),
    "strict": Engram(output_schema={"required": ["n"], "properties": {"n": {"type": "integer"}}}),
    "warm": Engram(executor=WORKER, retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=1.1))),
    "warm-hasty": Engram(
        executor=WORKER, timeout_seconds=2.3, retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=0.7))
    ),
}
"""``missing`` is an Engram that does not exist."""

NAMES = ("a", "b", "c-c", "d", "e_e", "f")
INPUTS = {"yes": True, "no": False, "which": "a", "n": 7}

OUTPUTS = (
    None,
    {"n": 1},
    {"n": 2, "flag": True},
    {"flag": False},
    {"n": "x"},
    {"n": stored("two"), "flag": stored("yes")},
    {"n": 3, "flag": stored("record", "flag")},
    {"flag": stored("gone")},
)


def scripts(draw: st.DrawFn, position: int) -> tuple[Script, ...]:
    """The scripts of up to three attempts. Every duration of a case is different, so that no two ends coincide."""
    found = []
    for attempt in range(1 + draw(below(3))):
        act = pick(draw, (Act.SUCCEED, Act.SUCCEED, Act.SUCCEED, Act.FAIL, Act.EXIT, Act.HANG))
        after = 0.97 * draw(below(5)) + 0.0131 * position + 0.0017 * attempt
        lag = pick(draw, (0.0, 0.011))
        match act:
            case Act.SUCCEED:
                output = pick(draw, OUTPUTS)
                found.append(Script(act, after, output, exit_lag_seconds=lag))
            case Act.FAIL:
                class_ = pick(draw, (None, "retry", "terminal", "rateLimited", "unknown"))
                found.append(Script(act, after, exit_code=1, exit_class=class_, exit_lag_seconds=lag))
            case Act.EXIT:
                found.append(Script(act, after, exit_code=pick(draw, (0, 1, 124, 125, 137, 143, 255))))
            case Act.HANG:
                found.append(Script(act, grace_seconds=pick(draw, (0.0, 0.3, 2.2))))
    return tuple(found)


@st.composite
def cases(draw: st.DrawFn, *, max_steps: int = 6, interrupted: bool = True) -> Case:
    """A Story of one to ``max_steps`` steps; with ``interrupted`` it may be canceled, stopped or run out of time.

    Every delay can change what runs out of time, so only executions without delays can then be compared.
    """
    names = NAMES[: 1 + draw(below(max_steps))]
    steps, played = [], {}
    for position, name in enumerate(names):
        step = _steps(draw, name, names[:position], interrupted)
        steps.append(step)
        if "ref" in step:
            played[name] = scripts(draw, position)
    spec: dict[str, Any] = {"steps": shuffled(draw, steps)}
    policy: dict[str, Any] = {}
    if one_in(draw, 2):
        policy["retries"] = {"continueOnStepFailure": True}
    cancel_after = None
    if interrupted and one_in(draw, 6):
        policy["timeouts"] = {"story": pick(draw, ("2s", "5s", "1m"))}
    elif interrupted and one_in(draw, 6):
        cancel_after = pick(draw, (0.0, 0.777, 2.777))
    if policy:
        spec["policy"] = policy
    engram_names = [name for name in names if name in played]
    if engram_names and one_in(draw, 3):
        source = pick(draw, engram_names)
        spec["output"] = {"n": f"{{{{ steps.{source}.output.n }}}}", "m": "{{ inputs.n }}"}
    return Case(
        spec,
        played,
        ENGRAMS,
        INPUTS,
        cancel_after_seconds=cancel_after,
        story_after_seconds=pick(draw, (0.0, 0.0, 0.0, 1.5)),
    )


def _steps(draw: st.DrawFn, name: str, earlier: tuple[str, ...], interrupted: bool) -> dict[str, Any]:
    step: dict[str, Any] = {"name": name}
    kinds = ["engram"] * 6 + ["condition", "sleep"] + (["stop", "gate"] if interrupted else [])
    kind = pick(draw, kinds)
    needs = [need for need in earlier if one_in(draw, 3)]
    if needs:
        step["needs"] = needs
    if kind == "engram":
        names = ("work", "work", "stubborn", "stubborn", "eager", "choosy", "strict", "missing", "warm", "warm")
        step["ref"] = {"name": pick(draw, (*names, "hasty", "warm-hasty") if interrupted else names)}
        if earlier and one_in(draw, 3):
            source = pick(draw, earlier)
            step["with"] = {"n": f"{{{{ steps.{source}.output.n }}}}"}
        elif one_in(draw, 10):
            step["with"] = {"n": "{{ (index .steps inputs.which).output.n }}"}
    else:
        step["type"] = kind
    if kind == "sleep":
        step["with"] = {"duration": pick(draw, ("10ms", "800ms", "3s", "1m0.5s", ""))}
    if kind == "stop":
        step["with"] = {"phase": pick(draw, ("Succeeded", "Failed", "cancel", "Running"))}
    condition = draw(below(8))
    if condition == 0:
        step["if"] = pick(draw, ("{{ inputs.no }}", "{{ inputs.yes }}", "{{ inputs.ghost }}", "maybe"))
    elif condition == 1 and earlier:
        step["if"] = f"{{{{ steps.{pick(draw, earlier)}.output.flag }}}}"
    if one_in(draw, 4):
        step["allowFailure"] = True
    return step


delivery_plans = st.dictionaries(st.integers(0, 60), st.sampled_from(tuple(Delivery)), max_size=12)
fault_plans = st.lists(st.dictionaries(st.integers(0, 60), st.sampled_from(tuple(Fault)), max_size=8), max_size=2)
_kills = st.lists(st.integers(1, 300), max_size=2)


@st.composite
def troubles(draw: st.DrawFn) -> Trouble:
    """Kills, faulty calls and unusual deliveries together."""
    return Trouble(
        kills=draw(_kills),
        faults=draw(fault_plans),
        deliveries=draw(delivery_plans),
        latency_seconds=pick(draw, (0.0, 0.0, 0.21)),
        downtime_seconds=pick(draw, (0.0, 0.0, 1.9, 47.0)),
    )
