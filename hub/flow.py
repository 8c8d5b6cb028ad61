"""Packets that are evaluated, joined or delayed on their way, from the inbox of a step to the buffers of those behind.

What can be done at once is done at once, in ``distribute``. What cannot waits in the queue of its step, which a task
works off; a primitive that delays packets has a task, too. Each is bounded, and holds its producers when it is full.
Source: streaming contract 12.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol

import trio

from bubu_contract.durations import parse_positive_duration
from bubu_wire.errors import MessageError
from bubu_wire.inspection import Inspected
from core.story.kinds import PRIMITIVES, InStream
from hub.child_runs import ChildOrder, ChildRunError, StreamChildRuns
from hub.envelope import JOIN_KEY, MESSAGE_ID, PacketReading
from hub.evaluation import PacketEvaluator
from hub.intake import Answer, Intake
from hub.job_step import JobOwner, JobStep
from hub.nodes import HeldPassage, LiveNode, LivePrimitive, LiveStep
from hub.questions import NotNowError, Question
from hub.refusal import PacketRefusal, PacketRefusedError
from hub.routes import RunRoutes
from hub.settings import MAX_CHILDREN
from hub.work import Asked, Passage, StepWork

WORKED_OFF_AT_ONCE: Final = 64
"""Packets of a queue that are worked off before other tasks have their turn."""


class FlowOwner(JobOwner, Protocol):
    """What a flow asks of its run."""

    def settle(self, node: LiveNode) -> None:
        """Packets have come to ``node``: send what may be sent, and hold producers if it is full."""
        ...

    def hold(self, node: LiveNode) -> None:
        """``node`` has no room: its producers wait until it has."""
        ...

    async def relieve(self, node: LiveNode) -> None:
        """Let producers go on if ``node`` has room again."""
        ...


class PacketFlow:
    """The packets of one run that do not simply go on."""

    def __init__(
        self,
        routes: RunRoutes,
        epoch: str,
        control: FlowOwner,
        evaluator: PacketEvaluator,
        child_runs: StreamChildRuns | None,
        now: Callable[[], datetime],
    ) -> None:
        self._routes = routes
        self._epoch = epoch
        self._control = control
        self._evaluator = evaluator
        self._child_runs = child_runs
        self._now = now
        self._keys = 0

    async def serve(self, steps: Mapping[str, LiveStep], primitives: Mapping[str, LivePrimitive]) -> None:
        """Work off what waits, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._evaluator.keep_warm)
            run = self._routes.run
            for step in steps.values():
                if step.intake is not None:
                    nursery.start_soon(self._work_off, step, step.intake, name=f"intake of {run}/{step.name}")
                    if step.spec.runs_jobs:
                        inputs = partial(self._inputs_of_job, step.intake)
                        jobs = JobStep(self._routes, step, self._control, self._child_runs, inputs)
                        nursery.start_soon(jobs.serve, name=f"jobs of {run}/{step.name}")
            for primitive in primitives.values():
                if primitive.intake is not None:
                    nursery.start_soon(
                        self._work_off, primitive, primitive.intake, name=f"intake of {run}/{primitive.name}"
                    )
                nursery.start_soon(_SERVE[_meaning(primitive)], self, primitive, name=f"{run}/{primitive.name}")

    def distribute(self, step: LiveStep, packet: Inspected, content: Mapping[str, Any] | None, now: float) -> None:
        """Pass a packet of ``step`` on to all that need it. Its receivers have room."""
        assert step.emission is not None
        reading = PacketReading(packet, content)
        if step.gives_keys and not reading.group:
            reading = reading.with_metadata(JOIN_KEY, self._new_key())
        if step.taps:
            step.observe_sent(reading.packet, content)
        passage = Passage(reading, step.emission, step.name)
        for target in step.targets:
            self._enter(target, passage, now)

    def _new_key(self) -> str:
        self._keys += 1
        return f"{self._epoch}-{self._keys}"

    async def _inputs_of_job(self, intake: Intake, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs of the Job of a packet that carries ``own``. Raises as ``evaluated`` does."""
        found: Mapping[str, Any] = await self._evaluated(intake.work.inputs_of_job(own))
        return found

    async def evaluated(self, asking: Generator[Asked, Any, Any]) -> Any:
        """The result of a generator that asks questions, for somebody beside the stream.

        Raises:
            PacketRefusedError, PacketRejectedError: there is none.
        """
        return await self._evaluated(asking)

    def enter(self, node: LiveNode, passage: Passage, now: float) -> None:
        """Let a packet come to ``node``, which has room, through all that is evaluated for it."""
        self._enter(node, passage, now)

    def _enter(self, node: LiveNode, passage: Passage, now: float) -> None:
        intake = node.intake
        if intake is None:
            assert isinstance(node, LiveStep)
            if node.taps:
                node.observe_got(passage.via, passage.reading.packet)
            node.delivery.offer(passage.reading.packet, passage.size, now)
            return
        if isinstance(node, LiveStep) and (packet := intake.at_once(passage)) is not None:
            size = len(packet.body)
            if not node.delivery.has_room(size):
                intake.wait_for_room(passage.with_reading(PacketReading(packet)))
                node.work.set()
                return
            if node.taps:
                node.observe_got(passage.via, packet)
            node.delivery.offer(packet, size, now)
            return
        admitted = intake.offer(passage)
        if admitted is not None:
            self._admit(node, intake, admitted, now)
        joins = intake.work.joins
        if intake.queue or (joins is not None and joins.due() < node.works_at):
            node.work.set()

    def _admit(self, node: LiveNode, intake: Intake, passage: Passage, now: float) -> None:
        """A packet has passed the intake of ``node``."""
        if isinstance(node, LiveStep):
            if node.delivery.has_room(passage.size):
                if node.taps:
                    node.observe_got(passage.via, passage.reading.packet)
                node.delivery.offer(passage.reading.packet, passage.size, now)
            else:
                intake.wait_for_room(passage)
        elif node.passes_at_once and not node.held and _blocker(node, passage.size) is None:
            self._let_go(node, passage.through(node.name), now)
        else:
            node.held.append(HeldPassage(passage, now, is_over=node.passes_at_once))
            node.held_bytes += passage.size
            node.news.set()

    def _let_go(self, node: LivePrimitive, passage: Passage, now: float) -> None:
        for target in node.targets:
            self._enter(target, passage, now)

    # The queue of an intake.

    async def _work_off(self, node: LiveNode, intake: Intake) -> None:
        answer = partial(self._answer_for, node)
        while True:
            await trio.lowlevel.checkpoint()
            intake.expire(trio.current_time())
            if intake.queue:
                for _ in range(WORKED_OFF_AT_ONCE):
                    await self._work_off_first(node, intake, answer)
                    if not intake.queue:
                        break
                self._settle(node)
                await self._control.relieve(node)
                continue
            joins = intake.work.joins
            node.work = trio.Event()
            node.works_at = joins.due() if joins is not None else float("inf")
            with trio.CancelScope(deadline=node.works_at):
                await node.work.wait()
            node.works_at = -float("inf")

    async def _work_off_first(self, node: LiveNode, intake: Intake, answer: Answer) -> None:
        admitted = await intake.first(answer)
        if admitted is not None:
            if not _has_room(node, admitted.size):
                self._settle(node)
            while not _has_room(node, admitted.size):
                self._control.hold(node)
                node.work = trio.Event()
                await node.work.wait()
        intake.done()
        if admitted is not None:
            self._admit(node, intake, admitted, trio.current_time())

    async def _answer_for(self, node: LiveNode, question: Question, subject: Any) -> Any:
        """What has gone on so far does not wait for the answer."""
        self._settle(node)
        return await self._answer(question, subject)

    async def _answer(self, question: Question, subject: Any) -> Any:
        return await self._evaluator.answer(question, subject, self._routes.run.namespace)

    # Primitives.

    async def _pass(self, node: LivePrimitive) -> None:
        """``condition`` and ``parallel``: what has found no room goes on when there is some."""
        while True:
            held = await self._first_of(node)
            await self._end_first(node, held.passage.through(node.name))

    async def _sleep(self, node: LivePrimitive) -> None:
        """``sleep``: each packet goes on after the same time, so their order stays."""
        seconds: float | None = None
        while True:
            held = await self._first_of(node)
            if seconds is None:
                try:
                    seconds = _seconds(await self._evaluated(_work(node).settings()), node.name)
                except PacketRefusedError as refused:
                    node.troubles.note(refused.reason, str(refused))
                    await self._end_first(node, None)
                    continue
            await trio.sleep_until(held.since + seconds)
            await self._end_first(node, held.passage.through(node.name))

    async def _execute(self, node: LivePrimitive) -> None:
        """``executeStory``: several StoryRuns at a time, and packets go on in the order in which they came."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._first_of(node)
                for held in list(node.held)[:MAX_CHILDREN]:
                    if not held.is_begun:
                        held.is_begun = True
                        nursery.start_soon(self._run_child, node, held)
                first = node.held[0]
                if first.is_over:
                    await self._end_first(node, None if first.is_lost else first.passage)
                else:
                    node.news = trio.Event()
                    await node.news.wait()

    async def _run_child(self, node: LivePrimitive, held: HeldPassage) -> None:
        passage = held.passage
        try:
            held.passage = passage.through(node.name, await self._child_of(node, passage))
        except PacketRefusedError as refused:
            node.troubles.note(refused.reason, str(refused))
            held.is_lost = True
        except (ChildRunError, MessageError) as error:
            node.troubles.note(PacketRefusal.CHILD_RUN, str(error))
            held.is_lost = True
        node.held_bytes += held.passage.size - passage.size
        held.is_over = True
        node.news.set()

    async def _child_of(self, node: LivePrimitive, passage: Passage) -> PacketReading | None:
        """The packet with the output of its StoryRun; None if that is not waited for."""
        if self._child_runs is None:
            raise ChildRunError("this hub starts no StoryRuns: it has no cluster")
        settings = await self._evaluated(_work(node).settings())
        inputs = await self._evaluated(_work(node).inputs_of_child(passage))
        reading = passage.reading
        waits = settings.get("waitForCompletion") is not False
        order = ChildOrder(
            parent=self._routes.run,
            step=node.name,
            key=reading.metadata.get(MESSAGE_ID) or self._new_key(),
            story=_story(settings),
            inputs=inputs if inputs is not None else _object(settings, "with"),
            waits=waits,
            parent_uid=self._routes.uid,
            timeout=node.spec.timeout,
        )
        output = await self._child_runs.run(order)
        return reading.with_payload(output) if waits else None

    async def _first_of(self, node: LivePrimitive) -> HeldPassage:
        while not node.held:
            node.news = trio.Event()
            await node.news.wait()
        return node.held[0]

    async def _end_first(self, node: LivePrimitive, passage: Passage | None) -> None:
        """The first packet of a primitive goes on as ``passage``, when there is room, or is lost."""
        while passage is not None and (blocker := _blocker(node, passage.size)) is not None:
            self._control.hold(blocker)
            node.news = trio.Event()
            await node.news.wait()
        node.held_bytes -= node.held.popleft().passage.size
        if passage is not None:
            self._let_go(node, passage, trio.current_time())
        self._settle(node)
        node.work.set()
        await self._control.relieve(node)
        await trio.lowlevel.checkpoint()

    def _settle(self, node: LiveNode) -> None:
        for each in (node,) if isinstance(node, LiveStep) else (node, *node.reach):
            self._control.settle(each)

    async def _evaluated(self, asking: Generator[Asked, Any, Any]) -> Any:
        """The result of a generator that asks questions.

        Raises:
            PacketRefusedError: one has no answer.
        """
        try:
            question, subject = next(asking)
            while True:
                try:
                    try:
                        answer = question.quick(subject, self._now)
                    except NotNowError:
                        answer = await self._answer(question, subject)
                except PacketRefusedError as refused:
                    question, subject = asking.throw(refused)
                else:
                    question, subject = asking.send(answer)
        except StopIteration as over:
            return over.value


_SERVE: Final = {
    InStream.FORWARD: PacketFlow._pass,
    InStream.END: PacketFlow._pass,
    InStream.DELAY: PacketFlow._sleep,
    InStream.ANSWER: PacketFlow._execute,
}


def _meaning(node: LivePrimitive) -> InStream:
    meaning = PRIMITIVES[node.spec.kind].in_stream
    assert meaning is not None, "the topology has refused the step"
    return meaning


def _work(node: LivePrimitive) -> StepWork:
    assert node.intake is not None, "every primitive has an intake"
    return node.intake.work


def _blocker(node: LivePrimitive, size: int) -> LiveNode | None:
    """A step behind ``node`` that has no room."""
    return next((each for each in node.reach if each.must_wait(size)), None)


def _has_room(node: LiveNode, size: int) -> bool:
    return node.delivery.has_room(size) if isinstance(node, LiveStep) else not node.is_full


def _seconds(settings: Mapping[str, Any], step: str) -> float:
    text = settings.get("duration")
    try:
        return parse_positive_duration(str(text or "")).total_seconds()
    except ValueError as error:
        raise PacketRefusedError(PacketRefusal.EXPRESSION, f"step {step}, with.duration: {error}") from None


def _story(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = settings.get("storyRef")
    if not isinstance(reference, Mapping) or not isinstance(reference.get("name"), str) or not reference["name"]:
        raise ChildRunError("with.storyRef.name is required: the Story to run")
    return reference


def _object(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = settings.get(name)
    if not isinstance(found, Mapping | None):
        raise ChildRunError(f"with.{name} must be an object: the inputs of the Story")
    return found or {}
