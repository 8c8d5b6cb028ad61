"""The port to those who carry out the attempts of Engram steps. There may be several executors; each StepRun names its
own in ``spec.executor``. What is true of all ports (``core.engine.ports``) is true of this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Protocol

from core.api.objects import Object
from core.engine.ports import AttemptOrder, Observation


@dataclass(frozen=True, slots=True)
class ExecutorTraits:
    """What holds for all attempts of one executor. The engine asks for these traits, not for the executor's name."""

    name: str
    """The value of ``spec.executor``."""
    word: str = "attempt"
    """What it starts for an attempt, in messages."""
    ends_by_itself: bool = True
    """Whether an attempt ends without ``stop`` once its work is done or its worker has failed. False: it serves a
    stream, and shows in ``Observation.live`` how that is.
    """
    lives_by_record: bool = False
    """Whether the StepRun is all that there is of an attempt.

    Then its workers report from every phase, so that the engine records ``Running`` only after the start, and only if
    the attempt takes longer than a moment. The record of its end is the signal to end; so the engine keeps a StepRun
    that it will create again until nothing runs for it. And the creation of the StepRun may start its first attempt
    (``AttemptOrder.create``).
    """
    release_time: timedelta = timedelta(0)
    """How much longer than the drain an attempt may take to say that it has ended."""


class StopReason(Enum):
    """Why ``AttemptExecutor.stop`` is called, and so what it stops. The engine gives the first two only for attempts
    that do not end by themselves.
    """

    IF_DONE = auto()
    """The attempt goes on, unless its work is done: a stream is when its worker has exited with 0, and when its needs
    have finished and it is drained. The engine asks after each look at an attempt that is ``live``.
    """
    DRAIN = auto()
    """Let the attempt finish what it has begun, and end. The engine asks after each change, until the attempt has ended
    or its time is over; then it asks with ``END``.
    """
    END = auto()
    """Ask the attempt to end. Before, the engine has recorded the end of the StepRun or marked it as asked to end; or
    it deletes it next.
    """
    SUPERSEDED = auto()
    """Ask earlier attempts to end. The current one, which another leader may have started, continues."""
    RECORDED = auto()
    """Ask what still runs to end, for a step whose end is recorded; the logs and traces of an ended attempt stay.

    The executor reads the attempt again, because what this process knows of it may be older than the record of the end.
    """


class AttemptExecutor(Protocol):
    """One way to carry out attempts. It calls the engine only through ``Supervisor.wake``.

    The engine calls the executor that the StepRun names, from the first attempt to the end, even if the Engram is bound
    to another executor by then (``core.engine.executors``). The executor decides how an attempt ends on request: the
    attempt gets some time to stop.
    """

    @property
    def traits(self) -> ExecutorTraits: ...

    async def prepare_run(self, run: Object, story: Object) -> None:
        """Ensure what it needs for every attempt of the run, e.g. a ServiceAccount with permissions. Idempotent.

        Raises:
            RejectedError: it can never be created.
        """

    async def start(self, order: AttemptOrder) -> None:
        """Ensure that ``order.attempt`` is started; an attempt that is started already is left alone.

        With ``order.create``, the StepRun of a first attempt does not exist yet. Create it, and start the attempt with
        that if there is room. If there is none, the attempt does not start: the engine calls ``start`` again with the
        StepRun, to hear why.

        Raises:
            NoRoomError: no worker has room.
            MissingReferenceError: a Secret that it needs is missing.
            RejectedError: it cannot be started with this order; ``InputTooLarge`` if its input is too large. Raised
                before the StepRun is created, or by ``order.create`` itself.
            StaleError: another attempt still exists, call ``stop`` with ``SUPERSEDED`` first. Or another leader has
                ended the StepRun or its run, or has moved the StepRun to another attempt. Or the run was asked to end,
                which this process knows from now on.
            GoneError: the StepRun, or its run, is gone or is being deleted.
        """

    async def observe(self, namespace: str, name: str, step_run: Object | None) -> Observation:
        """One look at the attempts of the StepRun of that name; never waits.

        ``step_run``: the StepRun, which is of this executor. None: it does not exist, or is of another executor. Then
        the state is ``LINGERING`` if something may still run for an earlier StepRun of that name, else ``ABSENT``.
        """

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        """The output of an attempt that has succeeded and whose observation ``has_result``. Changes nothing.

        Raises:
            RejectedError: what its worker has left behind is not what the template declares.
            ResultLostError: it is gone, and with it the output.
            StaleError: the attempt is not there any more.
            UnavailableError: also when it could not be read in time.
        """

    async def stop(self, step_run: Object, why: StopReason) -> None:
        """Stop attempts of this StepRun, as ``why`` says: at most a few writes, never a wait. Also a success if there
        is nothing to do.

        Raises:
            StaleError: there is a later attempt than ``step_run`` knows of.
            GoneError: as ``start``.
        """
