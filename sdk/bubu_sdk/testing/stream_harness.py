"""Runs a streaming function in a unit test as in its container, without a cluster and without sockets.

    with StreamHarness(main, config={"lang": "en"}) as harness:
        number = harness.send({"text": "hi"})
        assert harness.receive().payload == {"text": "HI"}
        harness.wait_done(number)
    assert harness.outcome.exit_code == 143  # leaving the block does what SIGTERM does

The hub is in memory (``bubu_sdk.testing.stream_hub``); all other code is the production code. Every wait has a limit.
"""

from __future__ import annotations

import io
import json
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from bubu_sdk import logs
from bubu_sdk.contract import Identity
from bubu_sdk.errors import Object
from bubu_sdk.streaming.links import Link
from bubu_sdk.streaming.run import StreamRun, StreamWorld
from bubu_sdk.streaming.settings import Endpoint
from bubu_sdk.streaming.translation import MESSAGE_ID, packet_of, request_of
from bubu_sdk.streams import StreamFunction
from bubu_sdk.testing.environment import NAMESPACE, EngramEnvironment
from bubu_sdk.testing.stream_hub import HubConnection, StreamHub, StreamOutput
from bubu_sdk.timing import utc_now

WAIT_SECONDS: Final = 30.0


class NotInTimeError(AssertionError):
    """What a test waits for has not happened."""


@dataclass(frozen=True)
class StreamOutcome:
    """How the process has ended, and what it left behind."""

    exit_code: int
    outputs: list[StreamOutput]
    receipts: list[int]
    """Sequences of the messages that are done, in order, also those that were reported again."""
    refusals: list[Mapping[str, str]]
    """Metadata of the messages that the function could not use; ``message`` says why."""
    logs: list[Object]
    """The log lines, decoded."""
    hung: bool
    """The function ignored its cancellation; its thread is still running."""
    error: Object | None = None
    """What the function, or its start, has raised, as a structured error (version v1)."""

    @property
    def payloads(self) -> list[Any]:
        """The payloads of the outputs."""
        return [output.payload for output in self.outputs]


class _MemoryLink:
    def __init__(self, network: _MemoryNetwork, far: HubConnection) -> None:
        self._network = network
        self._far = far
        self.cut = False

    def send(self, data: memoryview) -> int:
        with self._network.lock:
            if self.cut:
                raise ConnectionResetError("the test has dropped the connection")
            self._far.receive(bytes(data))
        self._network.wake()  # the hub may have answered
        return len(data)

    def receive(self) -> bytes | None:
        with self._network.lock:
            if self.cut:
                raise ConnectionResetError("the test has dropped the connection")
            data = self._far.data_to_send()
            if not data and self._far.wire.ended:
                return b""
        return data or None

    def close(self) -> None:
        with self._network.lock:
            if not self.cut:
                self.cut = True
                self._far.receive(b"")


class _MemoryNetwork:
    def __init__(self, hub: StreamHub, lock: threading.RLock) -> None:
        self.lock = lock
        self.reachable = True
        self.link: _MemoryLink | None = None
        self._hub = hub
        self._event = threading.Event()

    def dial(self, endpoint: Endpoint, seconds: float) -> _MemoryLink:
        with self.lock:
            if not self.reachable:
                raise ConnectionRefusedError("the hub is not reachable")
            self.link = _MemoryLink(self, self._hub.connect())
            return self.link

    def wait(self, link: Link | None, *, sending: bool, seconds: float) -> None:
        self._event.wait(seconds)
        self._event.clear()

    def wake(self) -> None:
        self._event.set()

    def close(self) -> None:
        """Nothing is open."""


class StreamHarness:
    """One process with a streaming function, and its hub.

    Args:
        work: the function, decorated or not.
        config: ``BUBU_STEP_CONFIG``.
        secrets: values by logical name and key.
        accepts: whether the hub offers ``upstream.accepts``, as that of bobrapet does.
        window: how many messages the hub sends before it has receipts.
        grace: from ``terminate`` to the end by force.
        environ: further environment variables; they override everything above.
    """

    def __init__(
        self,
        work: StreamFunction | Callable[..., Any],
        *,
        config: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        accepts: bool = True,
        window: int = 64,
        grace: str = "5s",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._work = work if isinstance(work, StreamFunction) else StreamFunction(work)
        self.environment = EngramEnvironment(config=config, secrets=secrets, grace=grace, environ=environ)
        """The cluster and the store in memory, for signals and artifacts."""
        binding = {"endpoint": "localhost:50051", "protocolVersion": "1.0.0"}
        document = {"name": "binding", "namespace": NAMESPACE, "binding": binding}
        self.environ = {
            **self.environment.environ,
            "BUBU_EXECUTION_MODE": "realtime",
            "BUBU_TRANSPORT_BINDING": json.dumps(document),
            "BUBU_GRPC_RECONNECT_BASE_BACKOFF": "1ms",
            **(environ or {}),
        }
        self.hub = StreamHub(accepts=accepts, window=window)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self.hub.changed = self._changed.notify_all
        self._network = _MemoryNetwork(self.hub, self._lock)
        self._run: StreamRun | None = None
        self._thread: threading.Thread | None = None
        self._read = 0
        self._outcome: StreamOutcome | None = None

    # The process.

    def start(self) -> None:
        """Start the process; ``with`` does the same."""
        environment = self.environment
        world = StreamWorld(
            environ=self.environ,
            connect=lambda _: environment.cluster,
            open_store=lambda _: environment.store,
            network=lambda _: self._network,
        )
        self._run = StreamRun(self._work, world)
        self._thread = threading.Thread(target=self._execute, args=(self._run,), name="bubu-harness", daemon=True)
        self._thread.start()

    def terminate(self, number: int = signal.SIGTERM) -> None:
        """Do what SIGTERM does to the container."""
        assert self._run is not None, "the process is not started"
        self._run.terminate(number)

    def wait(self, timeout: float = WAIT_SECONDS) -> StreamOutcome:
        """Wait until the process has ended by itself."""
        self.wait_until(lambda: self._outcome is not None, "the process has not ended", timeout)
        assert self._thread is not None
        self._thread.join(timeout)
        return self.outcome

    def end(self, timeout: float = WAIT_SECONDS) -> StreamOutcome:
        """Terminate the process, and wait until it has ended."""
        self.terminate()
        return self.wait(timeout)

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._outcome is not None

    @property
    def outcome(self) -> StreamOutcome:
        """How the process has ended."""
        assert self._outcome is not None, "the process has not ended"
        return self._outcome

    def run(self, messages: Iterable[Any] = (), timeout: float = WAIT_SECONDS) -> StreamOutcome:
        """Run the function with ``messages``, until each is done or refused, then terminate it.

        Without messages, wait until the function returns, as a source does.
        """
        with self:
            numbers = [self.send(each) for each in messages]
            if not numbers:
                return self.wait(timeout)
            self.wait_settled(*numbers, timeout=timeout)
        return self.outcome

    async def run_async(self, messages: Iterable[Any] = (), timeout: float = WAIT_SECONDS) -> StreamOutcome:
        """``run`` for tests that are coroutines, under asyncio or Trio."""
        from bubu_sdk import hosting

        outcome: StreamOutcome = await hosting.in_thread(lambda: self.run(messages, timeout))
        return outcome

    def __enter__(self) -> StreamHarness:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._outcome is None:
            self.terminate()
            if error is None:
                self.wait()

    # The hub.

    def send(
        self, value: Any, *, metadata: Mapping[str, str] | None = None, message_id: str = "", sequenced: bool = True
    ) -> int:
        """Send a message: a dict, dataclass, frame or ``Packet``. Returns its sequence, 0 without one."""
        packet = packet_of(value)
        assert packet is not None, "None is not a message"
        name = packet.message_id or message_id
        pairs = {**(metadata or {})} | ({MESSAGE_ID: name} if name else {})
        request = request_of(packet, pairs, int(utc_now().timestamp() * 1000))
        assert isinstance(request, bytes), "the harness sends packets of up to 5 MiB"
        if not sequenced:
            self.wait_until(lambda: self.hub.connection is not None and self.hub.connection.data is not None, "no Data")
        with self._changed:
            number = self.hub.send(request, sequenced=sequenced)
        self._network.wake()
        return number

    def receive(self, timeout: float = WAIT_SECONDS) -> StreamOutput:
        """The next output of the function."""
        self.wait_until(lambda: len(self.hub.outputs) > self._read, "the function has sent nothing more", timeout)
        self._read += 1
        return self.hub.outputs[self._read - 1]

    def wait_done(self, *numbers: int, timeout: float = WAIT_SECONDS) -> None:
        """Wait for the receipts of these messages."""
        self.wait_until(lambda: set(numbers) <= set(self.hub.receipts), f"messages {numbers} are not all done", timeout)

    def wait_settled(self, *numbers: int, timeout: float = WAIT_SECONDS) -> None:
        """Wait until each of these messages is done or refused, or the process has ended."""
        self.wait_until(
            lambda: self._outcome is not None or all(map(self._is_settled, numbers)),
            "not every message is done",
            timeout,
        )

    def drop_connection(self, *, reachable: bool = True) -> None:
        """Break the connection. The process connects again at once, or with ``reachable=False`` after ``reach``."""
        with self._changed:
            self._network.reachable = reachable
            link = self._network.link
            if link is not None:
                link.close()
        self._network.wake()

    def reach(self) -> None:
        """Let the process connect again."""
        with self._changed:
            self._network.reachable = True

    def redeliver(self) -> None:
        """Send all messages that are not done again."""
        with self._changed:
            self.hub.redeliver()
        self._network.wake()

    def hold_acceptance(self) -> None:
        """Do not accept outputs until ``accept``."""
        with self._changed:
            self.hub.accepts_outputs = False

    def accept(self) -> None:
        """Accept the outputs that have come, and those that come."""
        with self._changed:
            self.hub.accepts_outputs = True
            self.hub.accept()
        self._network.wake()

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = WAIT_SECONDS) -> None:
        """Wait until ``condition`` holds; it is looked at after each change at the hub.

        Raises:
            NotInTimeError: it does not, within ``timeout`` seconds. Says ``what``.
        """
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise NotInTimeError(f"{what}, after {timeout:g} s")

    # Inside.

    def _execute(self, run: StreamRun) -> None:
        stream = io.StringIO()
        with logs.Attached(logs.JsonLines(Identity.of(self.environ), stream), debug=False, root=False):
            ending = run.execute()
        with self._changed:
            self._outcome = StreamOutcome(
                exit_code=ending.exit_code,
                outputs=list(self.hub.outputs),
                receipts=list(self.hub.receipts),
                refusals=list(self.hub.refusals),
                logs=[json.loads(line) for line in stream.getvalue().splitlines()],
                hung=ending.hung,
                error=run.error,
            )
            self._changed.notify_all()

    def _is_settled(self, number: int) -> bool:
        return number in self.hub.receipts or any(each.get("sequence") == str(number) for each in self.hub.refusals)
