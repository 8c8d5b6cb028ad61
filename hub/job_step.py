"""A step whose Engram runs as a Job: the hub is its client, and starts a StoryRun of this one step for each packet.

Packets come to it as to any other client, so buffer, rules, joins, inputs and counts are those of every step. A packet
is in flight until its Job has ended and its output is accepted, so at most ``MAX_CHILDREN`` Jobs are at work at once.
Outputs go on in the order of their packets; with ``per_partition``, in that of their partition.
Source: streaming contract 12.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import orjson
import trio

from bubu_wire.codec import decode, encode
from bubu_wire.errors import MessageError
from bubu_wire.inspection import PACKET_MIME
from bubu_wire.messages import BinaryFrame, DataRequest, DataResponse, StreamEnvelope
from hub.child_runs import ChildOrder, ChildRunError, StreamChildRuns
from hub.envelope import MESSAGE_ID
from hub.nodes import LiveStep, StepLink
from hub.packets import ADDED_PAIRS
from hub.receipts import Receipt
from hub.refusal import PacketRefusal, PacketRefusedError
from hub.routes import RunRoutes

JOB_SECONDS: Final = 86_400.0
"""A safety net: timeouts and retries of the step are kept by the StoryRun of the packet."""
_ROOM: Final = 1 << 30
"""What is in flight is bounded by the settings of the step."""
_DIGEST_LENGTH: Final = 16


class JobOwner(Protocol):
    """What a step that runs Jobs asks of its run."""

    def attach(self, name: str, link: StepLink, *, accepted: int | None = None) -> None: ...

    def arrived(self, name: str, link: StepLink, messages: Sequence[bytes]) -> bool: ...

    def receipts(self, name: str, receipts: Sequence[Receipt]) -> None: ...


@dataclass(slots=True)
class _Job:
    """A packet whose Job has not ended, or whose output waits for those before it."""

    packet: DataResponse
    place: Receipt
    is_over: bool = False
    output: bytes | None = None
    """The packet with the output of the Job; None: there is none."""


class JobStep:
    """The client of one step, a ``StepLink``.

    Args:
        child_runs: None if there is no cluster.
        inputs: those of a Job, of the inputs that its packet carries; raises ``PacketRefusedError``.
    """

    def __init__(
        self,
        routes: RunRoutes,
        step: LiveStep,
        run: JobOwner,
        child_runs: StreamChildRuns | None,
        inputs: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]],
    ) -> None:
        self._routes = routes
        self._step = step
        self._run = run
        self._child_runs = child_runs
        self._inputs = inputs
        self._new: deque[bytes] = deque()
        self._at_work: dict[str, deque[_Job]] = {}
        """By partition, in the order in which the packets came."""
        self._sent: deque[_Job] = deque()
        """Those whose output is not accepted yet."""
        self._consumed = 0
        self._news = trio.Event()

    async def serve(self) -> None:
        """Serve the step until cancelled."""
        self._run.attach(self._step.name, self, accepted=0)  # a packet is done when its output is
        async with trio.open_nursery() as nursery:
            while True:
                self._news = trio.Event()
                while self._new:
                    job = _job_of(self._new.popleft())
                    self._at_work.setdefault(job.place.partition, deque()).append(job)
                    nursery.start_soon(self._work, job)
                done = self._pass_on()
                done += [self._sent.popleft().place for _ in range(self._consumed)]
                self._consumed = 0
                if done:
                    self._run.receipts(self._step.name, done)
                    await trio.lowlevel.checkpoint()
                    continue
                await self._news.wait()

    # What the run asks of a client.

    def room(self) -> int:
        return _ROOM

    def send(self, messages: Sequence[bytes]) -> None:
        self._new += messages
        self._news.set()

    def consumed(self, messages: int, packets: int) -> None:
        self._consumed += packets
        self._news.set()

    # Jobs.

    def _pass_on(self) -> list[Receipt]:
        """Send the outputs that may go on; returns the packets without one."""
        done, outputs = [], []
        for partition, jobs in list(self._at_work.items()):
            while jobs and jobs[0].is_over:
                job = jobs.popleft()
                if job.output is None:
                    done.append(job.place)
                else:
                    self._sent.append(job)
                    outputs.append(job.output)
            if not jobs:
                del self._at_work[partition]
        if outputs:  # never so many that routing them stops half way
            self._run.arrived(self._step.name, self, outputs)
        return done

    async def _work(self, job: _Job) -> None:
        troubles = self._step.troubles
        try:
            job.output = _with_output(job, await self._output_of(job.packet, job.place))
        except PacketRefusedError as refused:
            troubles.note(refused.reason, str(refused))
        except (ChildRunError, MessageError) as error:
            troubles.note(PacketRefusal.JOB, str(error))
        job.is_over = True
        self._news.set()

    async def _output_of(self, packet: DataResponse, place: Receipt) -> Mapping[str, Any]:
        if self._child_runs is None:
            raise ChildRunError("this hub starts no Jobs: it has no cluster")
        inputs = await self._inputs(_inputs_of(packet, has_own=self._step.spec.runtime is not None))
        digest = hashlib.sha256(orjson.dumps(inputs, option=orjson.OPT_SORT_KEYS)).hexdigest()[:_DIGEST_LENGTH]
        message = packet.metadata.get(MESSAGE_ID) or "/".join(map(str, place))
        order = ChildOrder(
            parent=self._routes.run,
            step=self._step.name,
            key=f"{message}/{digest}",
            story={},
            inputs=inputs,
            waits=True,
            parent_uid=self._routes.uid,
            timeout=JOB_SECONDS,
            runs_step=True,
        )
        return await self._child_runs.run(order)


def _job_of(message: bytes) -> _Job:
    packet = decode(DataResponse, message)
    envelope = packet.envelope or StreamEnvelope()
    return _Job(packet, Receipt(envelope.stream_id, envelope.partition, envelope.sequence))


def _inputs_of(packet: DataResponse, *, has_own: bool) -> Mapping[str, Any]:
    """What the Job gets of a packet: the inputs that ``runtime`` has made (``has_own``), else the payload.

    Raises:
        MessageError: the packet has no such object.
    """
    frame = packet.frame
    content = orjson.loads(frame.payload) if isinstance(frame, BinaryFrame) and frame.mime_type == PACKET_MIME else {}
    name = "inputs" if has_own else "payload"
    found = content.get(name, getattr(packet, name))
    if not isinstance(found, Mapping):
        raise MessageError("a Job needs an object as its inputs, and the packet carries none; make one with runtime")
    return dict(found)


def _with_output(job: _Job, output: Mapping[str, Any]) -> bytes:
    """The packet that the step sends: the output as payload, with the metadata and the partition of its packet.

    Raises:
        MessageError: it is too large.
    """
    metadata = {name: value for name, value in job.packet.metadata.items() if name not in ADDED_PAIRS}
    content: dict[str, Any] = {"version": "v1", "kind": "data", "payload": output}
    if message := metadata.get(MESSAGE_ID):
        content["messageId"] = message
    envelope = StreamEnvelope(partition=job.place.partition) if job.place.partition else None
    frame = BinaryFrame(orjson.dumps(content), PACKET_MIME)
    return encode(replace(DataRequest(frame, metadata), envelope=envelope))
