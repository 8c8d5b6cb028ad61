"""Which packets of a run have to be evaluated, joined or delayed, and by what: decided once, when the run begins.

A step whose packets all go on as they are keeps the short way, without any of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial

import trio

from hub.intake import Intake
from hub.nodes import LiveNode, LivePrimitive, LiveStep
from hub.refusal import PacketRefusedError
from hub.routes import RunRoutes
from hub.work import SourceWork, StepWork


def wire(
    routes: RunRoutes,
    steps: Mapping[str, LiveStep],
    primitives: Mapping[str, LivePrimitive],
    now: Callable[[], datetime],
) -> None:
    """Give each step of a run what is evaluated for it, and what is said about its packets."""
    judged = {
        name for name, step in steps.items() if not step.spec.takes_as_it_is
    } | primitives.keys()  # all primitives: their settings are evaluated
    emissions: dict[str, SourceWork] = {}
    for name, step in steps.items():
        behind = {each.name for each in _engrams_behind(step)}
        emissions[name] = emission = SourceWork(step.spec, len(behind), partial(_note, step))
        if emission.has_work:
            judged |= behind
    nodes: list[tuple[str, LiveNode]] = [*steps.items(), *primitives.items()]
    for name, node in nodes:
        if name in judged:
            work = StepWork(routes, node.spec, trio.current_time)
            blocks = isinstance(node, LivePrimitive) or node.spec.delivery.blocks
            node.intake = Intake(work, now, node.troubles, blocks=blocks)
    for name, step in steps.items():
        step.gives_keys = _gives_keys(routes, name)
        if step.gives_keys or any(each.intake is not None for each in step.targets):
            step.emission = emissions[name]


def _note(step: LiveStep, refused: PacketRefusedError) -> None:
    step.troubles.note(refused.reason, str(refused))


def _engrams_behind(step: LiveStep) -> Iterator[LiveStep]:
    """The Engrams that a packet of ``step`` can reach, directly or through primitives."""
    seen: set[str] = set()
    pending: list[LiveNode] = list(step.targets)
    while pending:
        node = pending.pop()
        if node.name in seen:
            continue
        seen.add(node.name)
        if isinstance(node, LiveStep):
            yield node
        else:
            pending += node.targets


def _gives_keys(routes: RunRoutes, name: str) -> bool:
    """Whether packets of the step can come to a joining step on several ways."""
    behind, pending = {name}, [name]
    while pending:
        for target in routes.targets[pending.pop()]:
            if target not in behind:
                behind.add(target)
                pending.append(target)
    return any(
        step.join is not None
        and step.join.settings.needs_key
        and sum(need in behind for need in routes.sources[other]) > 1
        for other, step in routes.steps.items()
    )
