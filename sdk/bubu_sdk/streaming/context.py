"""The context of a streaming function: facts about its step, and methods beside its messages.

``StreamContext`` is for plain functions, ``AsyncStreamContext`` for ``async`` ones. Both have the same facts; the
methods of ``AsyncStreamContext`` are awaited. Source: Streaming contract 11.1; SDK contract 17.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic

from bubu_sdk import hosting
from bubu_sdk.contract import Identity
from bubu_sdk.errors import Object, SignalsUnavailableError
from bubu_sdk.secret import Secrets
from bubu_sdk.streaming.messages import Feed, Message
from bubu_sdk.timing import utc_now

if TYPE_CHECKING:  # a type checker knows this module even if it is not installed
    from typing_extensions import TypeVar

    from bubu_sdk.artifacts import Artifacts, AsyncArtifacts
    from bubu_sdk.steprun import StepRunClient

    ConfigT = TypeVar("ConfigT", default=Any)
else:
    from typing import TypeVar

    ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class StreamServices:
    """What the methods of a context use. Clients are made when they are first needed."""

    feed: Feed
    steprun: Callable[[], StepRunClient | None]
    artifacts: Callable[[], Artifacts]
    max_signal_bytes: int
    now: Callable[[], datetime] = utc_now


@dataclass(frozen=True, repr=False)
class StreamKnowledge(Generic[ConfigT]):
    """The facts of a context; its subclasses add the methods."""

    identity: Identity
    _config: Callable[[], ConfigT]
    secrets: Secrets
    started_at: datetime
    """The start of the step, with time zone UTC."""
    transports: tuple[Object, ...]
    logger: logging.Logger
    """Writes JSON lines to stdout; ``extra={...}`` adds fields."""
    cancelled: threading.Event
    """Set at SIGTERM. The messages end then, too; a source should check it, or wait for it, and return."""
    _services: StreamServices

    @property
    def config(self) -> ConfigT:
        """The step's ``with`` as configuration, overridden by ``BUBU_CONFIG_<key>``.

        With the annotation ``StreamContext[Config]``, the SDK decodes the configuration before the function starts; a
        mismatch ends the process. Without it, the value is plain JSON, and the SDK reads it at the first access.

        Raises:
            EngramError: the configuration contains a template or a reference that cannot be resolved.
        """
        return self._config()

    @property
    def story(self) -> str:
        """Name of the Story."""
        return self.identity.story

    @property
    def story_run(self) -> str:
        """Name of the StoryRun."""
        return self.identity.story_run

    @property
    def step(self) -> str:
        """Name of the step in its Story."""
        return self.identity.step

    @property
    def step_run(self) -> str:
        """Name of the StepRun."""
        return self.identity.step_run

    @property
    def namespace(self) -> str:
        """Namespace of the Story, the StoryRun and the StepRun."""
        return self.identity.namespace

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.identity!r}, secrets={self.secrets!r})"

    def _emit(self, key: str, value: Any) -> None:
        from bubu_sdk import signals  # few streams have signals

        services = self._services
        steprun = services.steprun()
        if steprun is None:
            raise SignalsUnavailableError("signals unavailable: this process has no StepRun")
        signals.emit(steprun, key, value, now=services.now(), max_payload_bytes=services.max_signal_bytes)


class StreamContext(StreamKnowledge[ConfigT]):
    """The context of a plain function. Its methods block, and several threads may call them."""

    @property
    def artifacts(self) -> Artifacts:
        """Files and directories in the object store."""
        return self._services.artifacts()

    def send(self, value: Any, of: Message[Any] | None = None) -> None:
        """Send an output, as ``yield`` does; for functions that work on several messages at once.

        Args:
            value: what ``yield`` may have: a dict, dataclass, model, frame, bytes or ``Packet``.
            of: the message that it answers, which is not done before the output is accepted.
        Raises:
            OutputError: the value has no form in packets; names the place.
            ValueError: ``of`` is done already.
            EngramError: the stream is over.
        """
        self._services.feed.send(value, of)

    def emit_signal(self, key: str, value: Any) -> None:
        """Publish a value in the status of the StepRun; ``None`` deletes the key. Not for each message.

        A signal that cannot be stored within 3 s, because the API server is away, busy or its disk is full, is given
        up with a warning in the log.

        Raises:
            SignalsUnavailableError: this process has no StepRun.
            StepRunError: another Pod owns the StepRun.
            KubeError: the API server refuses the signal.
        """
        self._emit(key, value)


class AsyncStreamContext(StreamKnowledge[ConfigT]):
    """The context of an ``async`` function; it has the methods of ``StreamContext``, to be awaited."""

    @property
    def artifacts(self) -> AsyncArtifacts:
        """See ``StreamContext.artifacts``."""
        from bubu_sdk.artifacts import AsyncArtifacts

        return AsyncArtifacts(self._services.artifacts())

    async def send(self, value: Any, of: Message[Any] | None = None) -> None:
        """See ``StreamContext.send``."""
        await self._services.feed.send_async(value, of)

    async def emit_signal(self, key: str, value: Any) -> None:
        """See ``StreamContext.emit_signal``."""
        await hosting.in_thread(lambda: self._emit(key, value))
