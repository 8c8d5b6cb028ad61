"""Lifecycle hooks: packets of the hub itself, which say that a step, or that every step of the run, is connected.

A hook goes to each Engram whose ``if`` names it, whatever the ``needs`` of that step are, and past its join: there is
nothing to join it with. Else it is a packet as any other: ``if`` decides, ``runtime`` makes the inputs, and it is
counted and delivered as all packets are. Each hook is sent once in the life of a run in the hub. After a restart of the
hub it is sent again, since the first one may have been lost with the hub; its message id is the same.
Source: streaming contract 14.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import trio

from bubu_contract.instants import format_precise_instant
from bubu_wire.codec import encode
from bubu_wire.messages import DataRequest
from core.api.objects import NamespacedName
from core.api.streaming import StreamHook
from hub.envelope import MESSAGE_ID, PacketReading
from hub.nodes import LiveStep
from hub.packets import PacketChecker
from hub.routes import RunRoutes, StreamStep
from hub.work import Passage, SourceWork

if TYPE_CHECKING:
    from hub.flow import FlowOwner, PacketFlow

SENDER: Final = "hub"
"""Who has sent the packet, as its metadata and taps say."""


def consumers(routes: RunRoutes, hook: StreamHook) -> tuple[str, ...]:
    """The Engrams whose ``if`` names a hook, in any case, in the order of the Story."""
    return tuple(
        name for name, step in routes.steps.items() if not step.is_primitive and hook.value in step.condition.lower()
    )


def hook_packet(run: NamespacedName, hook: StreamHook, step: str, now: datetime) -> bytes:
    """The packet of a hook, as a client would write it.

    Args:
        step: the step that it is about; empty if it is about the run.
    """
    message_id = f"{run}:{hook}" + (f":{step}" if step else "")
    data: dict[str, Any] = {
        "timestamp": format_precise_instant(now),
        "storyRun": {"name": run.name, "namespace": run.namespace},
    }
    if step:
        data["step"] = {"name": step}
    metadata = {
        "source": SENDER,
        "provider": SENDER,
        "type": hook.value,
        "kind": "hook",
        "hook.event": hook.value,
        "hook.source": SENDER,
        **({"hook.step": step} if step else {}),
        MESSAGE_ID: message_id,
    }
    content = {"version": "v1", "event": hook.value, "source": SENDER, "data": data}
    return encode(DataRequest(metadata=metadata, payload={"kind": "hook", "type": hook.value, "hook": content}))


def hooks_of(
    routes: RunRoutes, steps: Mapping[str, LiveStep], flow: PacketFlow, control: FlowOwner, now: Callable[[], datetime]
) -> RunHooks | None:
    """The hooks of a run; None if no step waits for one. The arguments are those of ``RunHooks``."""
    if not any(consumers(routes, hook) for hook in StreamHook):
        return None
    return RunHooks(routes, steps, flow, control, now)


class RunHooks:
    """The hooks of one run: which were sent, and to whom they go."""

    def __init__(
        self,
        routes: RunRoutes,
        steps: Mapping[str, LiveStep],
        flow: PacketFlow,
        control: FlowOwner,
        now: Callable[[], datetime],
    ) -> None:
        """
        Args:
            steps: those with a client.
            control: the run.
            now: the wall clock.
        """
        self._run = routes.run
        self._steps = steps
        self._flow = flow
        self._control = control
        self._now = now
        self._consumers = {hook: consumers(routes, hook) for hook in StreamHook}
        self._origin = SourceWork(StreamStep(SENDER), 0)
        self._checker = PacketChecker()
        self._sent: set[tuple[StreamHook, str]] = set()
        self._finished: set[str] = set()

    def connected(self, step: str) -> None:
        """A client of ``step`` has connected, perhaps again."""
        self._send(StreamHook.STEP_READY, step)
        self._look_at_run()

    def finished(self, step: str) -> None:
        """``step`` will have no client any more: nobody waits for it."""
        self._finished.add(step)
        self._look_at_run()

    def _look_at_run(self) -> None:
        is_there = [name in self._finished or step.link is not None for name, step in self._steps.items()]
        if all(is_there):
            self._send(StreamHook.RUN_READY)

    def _send(self, hook: StreamHook, step: str = "") -> None:
        takers: Sequence[str] = self._consumers[hook]
        if not takers or (hook, step) in self._sent:
            return
        self._sent.add((hook, step))
        packet, content = self._checker.read(hook_packet(self._run, hook, step, self._now()))
        now = trio.current_time()
        for name in takers:
            if name not in self._finished:
                passage = Passage(PacketReading(packet, content), self._origin, SENDER, is_hook=True)
                self._flow.enter(self._steps[name], passage, now)
                self._control.settle(self._steps[name])
