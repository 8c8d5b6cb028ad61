"""A packet that a person sends into a stream: to a step, as if one of its needs had sent it, or from a step.

It goes the way of every packet, is counted as one, and holds to the same bounds. A packet for which there is no room
waits, and goes nowhere when the time is over. Its metadata says that it was injected. Source: streaming contract 5.5.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
import trio

from bubu_wire.codec import encode
from bubu_wire.errors import MessageError
from bubu_wire.inspection import PACKET_MIME
from bubu_wire.messages import MAX_FRAME_BYTES, MAX_PAIRS, BinaryFrame, DataRequest
from hub.console_grants import ConsoleReason, ConsoleRefusalError
from hub.delivery import Loss
from hub.nodes import LiveStep, StepLink
from hub.packets import ADDED_PAIRS, PacketChecker
from hub.refusal import PacketRefusedError
from hub.run import LiveRun

INJECTED: Final = "bubu.injected"
"""Metadata of a packet that a person has sent: ``true``."""
INJECTED_BY: Final = "bubu.injected.by"
"""Who it was, as the command says."""
_KIND, _MESSAGE_ID, _TIMESTAMP = "bubu.envelope.kind", "bubu.envelope.message_id", "bubu.envelope.timestamp_ms"
_RESERVED: Final = frozenset({*ADDED_PAIRS, INJECTED, INJECTED_BY, _KIND, _MESSAGE_ID, _TIMESTAMP, "bubu-heartbeat"})
_FIELDS: Final = frozenset({"payload", "metadata", "from", "out", "messageId", "by"})
_MAX_PAIRS_OF_ORDER: Final = 64
_MAX_NAME: Final = 128
_MAX_VALUE: Final = 1_024
_MAX_ID: Final = 256
_ROOM_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class PacketOrder:
    """What somebody wants to send."""

    payload: Mapping[str, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    """The need that the packet seems to come from; empty if the step has only one."""
    is_out: bool = False
    """The step itself seems to have sent it."""
    message_id: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Injected:
    """What has become of the packet when the hub answers."""

    message_id: str
    outcome: str
    """``buffered``, ``routed``, ``skipped``, ``joining`` or ``evaluating``."""
    reason: str = ""
    """Why it was skipped."""
    steps: Sequence[str] = ()
    """The steps that it goes to."""


def read_order(body: bytes) -> PacketOrder:
    """The order in the body of a request.

    Raises:
        ConsoleRefusalError: it cannot be used; with all problems.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid(f"the request is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise _invalid("the request must be a JSON object")
    problems = [f"{name} is unknown" for name in found.keys() - _FIELDS]
    payload, metadata = found.get("payload"), found.get("metadata") or {}
    if not isinstance(payload, dict):
        problems.append("payload must be a JSON object")
    problems += _problems_of_metadata(metadata)
    words = {name: found.get(name) or "" for name in ("from", "messageId", "by")}
    problems += [f"{name} must be a string" for name, word in words.items() if not isinstance(word, str)]
    is_out = found.get("out") or False
    if not isinstance(is_out, bool):
        problems.append("out must be true or false")
    elif is_out and words["from"]:
        problems.append("from names the step that the packet seems to come from; use from or out, not both")
    if isinstance(words["messageId"], str) and len(words["messageId"].encode(errors="replace")) > _MAX_ID:
        problems.append(f"messageId must have at most {_MAX_ID} bytes")
    if problems:
        raise _invalid("; ".join(problems))
    by = "".join(letter if letter.isprintable() else "?" for letter in words["by"])[:_MAX_ID]
    return PacketOrder(payload or {}, metadata, words["from"], is_out, words["messageId"], by)


def packet_of(order: PacketOrder, message_id: str, now: datetime) -> bytes:
    """The packet, as an SDK writes it.

    Raises:
        ConsoleRefusalError: it is outside the bounds of packets.
    """
    timestamp = int(now.timestamp() * 1_000)
    content = {
        "version": "v1",
        "kind": "data",
        "messageId": message_id,
        "timestampMs": timestamp,
        "payload": order.payload,
    }
    document = orjson.dumps(content)
    if len(document) > MAX_FRAME_BYTES:
        raise _invalid(f"the packet has {len(document)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    metadata = {
        **order.metadata,
        INJECTED: "true",
        **({INJECTED_BY: order.by} if order.by else {}),
        _KIND: "data",
        _MESSAGE_ID: message_id,
        _TIMESTAMP: str(timestamp),
    }
    try:
        made = encode(DataRequest(BinaryFrame(document, PACKET_MIME, timestamp), metadata))
        PacketChecker().read(made)
    except MessageError as error:
        raise _invalid(str(error)) from None
    return made


async def inject(live: LiveRun, name: str, order: PacketOrder, now: datetime, seconds: float) -> Injected:
    """Send a packet to or from a step; waits up to ``seconds`` for room and for its evaluation.

    Raises:
        ConsoleRefusalError: it goes nowhere; the reason says why.
    """
    if name not in live.steps:
        raise ConsoleRefusalError(ConsoleReason.NOT_SERVED, f"the run has no streaming step {name}")
    message_id = order.message_id or f"injected-{secrets.token_hex(8)}"
    packet = packet_of(order, message_id, now)
    deadline = trio.current_time() + seconds
    if order.is_out:
        return await _send_from(live, live.steps[name], message_id, packet, deadline)
    return await _send_to(live, live.steps[name], order, message_id, packet, deadline)


# From a step.


class InjectedLink(StepLink):
    """Stands in the inbox of a step where its session would: it hears when the packet was routed."""

    def __init__(self) -> None:
        self.routed = trio.Event()

    def room(self) -> int:
        return 0

    def send(self, messages: Sequence[bytes]) -> None:
        raise AssertionError("it serves no step")

    def consumed(self, messages: int, packets: int) -> None:
        if messages:
            self.routed.set()


async def _send_from(live: LiveRun, step: LiveStep, message_id: str, packet: bytes, deadline: float) -> Injected:
    _refuse_over(live, step)
    await _check_output(live, step, packet)
    link = InjectedLink()
    more = live.arrived(step.name, link, [packet])
    try:
        with trio.move_on_at(deadline):
            while more and not link.routed.is_set():
                await trio.lowlevel.checkpoint()
                more = live.route(step)
            await _first_of(link.routed, live.ended)
    finally:
        is_left = not link.routed.is_set() and (link, packet) in step.inbox
        if is_left:  # nobody has taken it, so it goes nowhere
            step.inbox.remove((link, packet))
            step.inbox_bytes -= len(packet)
    if link.routed.is_set():
        return Injected(message_id, "routed", steps=[target.name for target in step.targets])
    if live.ended.is_set():
        raise _ended(live)
    raise _full(", ".join(live.held_by(step.name)) or step.name)


async def _check_output(live: LiveRun, step: LiveStep, packet: bytes) -> None:
    """Refuse what the step has promised not to send, before anything is counted."""
    if live.flow is None or step.spec.output_schema is None:
        return
    from hub.envelope import PacketReading
    from hub.work import PacketRejectedError, SourceWork

    refusals: list[PacketRefusedError] = []
    work = SourceWork(step.spec, 0, refusals.append)
    try:
        await live.flow.evaluated(work.check(PacketReading(*PacketChecker().read(packet))))
    except PacketRejectedError:
        raise ConsoleRefusalError(ConsoleReason.REFUSED, str(refusals[0])) from None


# To a step.


async def _send_to(
    live: LiveRun, step: LiveStep, order: PacketOrder, message_id: str, packet: bytes, deadline: float
) -> Injected:
    source = _source_of(live, step, order.source)
    found, content = PacketChecker().read(packet)
    await _until_room(live, step, len(found.body), deadline)
    now = trio.current_time()
    if step.intake is None:
        if step.taps:
            step.observe_got(source, found, content)
        lost = step.delivery.offer(found, len(found.body), now)
        live.settle(step)
        if lost is not None:
            raise _lost(step, lost)
        return Injected(message_id, "buffered", steps=[step.name])
    from hub.envelope import PacketReading
    from hub.work import PacketFate, Passage, SourceWork

    assert live.flow is not None, "what is evaluated has a flow"
    heard: list[tuple[PacketFate, str, str]] = []
    news = trio.Event()

    def hear(fate: PacketFate, reason: str, why: str) -> None:
        heard.append((fate, reason, why))
        news.set()

    sender = live.node(source)
    origin = sender.emission if isinstance(sender, LiveStep) else None
    passage = Passage(PacketReading(found, content), origin or SourceWork(sender.spec, 0), source, heard=hear)
    live.flow.enter(step, passage, now)
    live.settle(step)
    with trio.move_on_at(deadline):
        await _first_of(news, live.ended)
    if not heard:
        if live.ended.is_set():
            raise _ended(live)
        return Injected(message_id, "evaluating", steps=[step.name])
    fate, reason, why = heard[0]
    if fate is PacketFate.REFUSED:
        raise ConsoleRefusalError(ConsoleReason.REFUSED, f"{reason}: {why}" if why else str(reason))
    outcome = {PacketFate.ADMITTED: "buffered", PacketFate.SKIPPED: "skipped", PacketFate.JOINING: "joining"}[fate]
    return Injected(message_id, outcome, str(reason), [step.name])


def _source_of(live: LiveRun, step: LiveStep, given: str) -> str:
    needs = live.routes.sources[step.name]
    if not needs:
        raise _invalid(f"step {step.name} needs no step, so nothing is sent to it; send as the step itself (--out)")
    if not given and len(needs) == 1:
        return needs[0]
    if given not in needs:
        said = f"from must be one of {', '.join(needs)}, the steps that step {step.name} needs"
        raise _invalid(said if given else f"step {step.name} needs several steps: {said}")
    return given


async def _until_room(live: LiveRun, step: LiveStep, size: int, deadline: float) -> None:
    """Wait until the step has room for a packet, beside those that wait for its sources."""
    while True:
        _refuse_over(live, step)
        if step.delivery.has_room(size) and not (step.intake is not None and step.intake.is_full):
            return
        if trio.current_time() >= deadline:
            raise _full(step.name)
        await trio.sleep(_ROOM_POLL_SECONDS)


def _refuse_over(live: LiveRun, step: LiveStep) -> None:
    if live.ended.is_set():
        raise _ended(live)
    if live.is_finished(step.name):
        raise ConsoleRefusalError(ConsoleReason.NOT_SERVED, f"step {step.name} has finished")


async def _first_of(one: trio.Event, other: trio.Event) -> None:
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait, one)
        nursery.start_soon(wait, other)


def _problems_of_metadata(metadata: object) -> list[str]:
    if not isinstance(metadata, dict):
        return ["metadata must be an object of strings"]
    problems = []
    if len(metadata) > _MAX_PAIRS_OF_ORDER:
        problems.append(f"metadata has {len(metadata)} pairs; at most {_MAX_PAIRS_OF_ORDER} are allowed")
    for name, word in metadata.items():
        if name in _RESERVED:
            problems.append(f"metadata.{name} is written by the hub; leave it out")
        elif not name.strip() or name != name.strip() or len(name.encode(errors="replace")) > _MAX_NAME:
            problems.append(f"metadata: a name must have 1 to {_MAX_NAME} bytes, and no blanks around it")
        elif not isinstance(word, str) or len(word.encode(errors="replace")) > _MAX_VALUE:
            problems.append(f"metadata.{name} must be a string of at most {_MAX_VALUE} bytes")
    return problems


def _invalid(text: str) -> ConsoleRefusalError:
    return ConsoleRefusalError(ConsoleReason.INVALID, text)


def _full(names: str) -> ConsoleRefusalError:
    return ConsoleRefusalError(ConsoleReason.FULL, f"the buffer of step {names} is full; the packet was dropped")


def _ended(live: LiveRun) -> ConsoleRefusalError:
    text = f"run {live.routes.run} has ended, or is being restarted; the packet was dropped"
    return ConsoleRefusalError(ConsoleReason.NOT_SERVED, text)


def _lost(step: LiveStep, lost: Loss) -> ConsoleRefusalError:
    return ConsoleRefusalError(ConsoleReason.REFUSED, f"step {step.name} has dropped the packet: {lost}")


assert _MAX_PAIRS_OF_ORDER + len(_RESERVED) <= MAX_PAIRS, "an order fits into a packet"
