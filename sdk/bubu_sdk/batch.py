"""Runs a batch container from its start to its exit code.

    environment → claim the StepRun ∥ configuration, secrets, inputs → the function → output → status → logs → exit

This module is the supervisor. User code never runs in the supervisor's thread, so the supervisor enforces a deadline
and reacts to SIGTERM whatever the user code does. Exit codes: 0 success, 1 failure, 124 timeout, 128 + n ended by
signal n. Source: SDK contract 12.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from bubu_contract import durations
from bubu_sdk import contract, dehydrate, encode, errors, logs, preparation, status
from bubu_sdk.context import AsyncContext, Context, Services
from bubu_sdk.contract import Environment, Identity
from bubu_sdk.debugger import under_debugger
from bubu_sdk.effects import DEFAULT_MAX_DETAILS_BYTES, Effects
from bubu_sdk.errors import EngramError, ErrorType, ExitClass, Object, PayloadPathError, StorageError
from bubu_sdk.hosting import host_for, host_for_setup
from bubu_sdk.kube import Cluster, KubeError, NotFoundError
from bubu_sdk.preparation import Prepared, Sources
from bubu_sdk.signals import DEFAULT_MAX_PAYLOAD_BYTES
from bubu_sdk.signature import Signature, StepFunction
from bubu_sdk.stage import Ending, NewsDesk, Stage, Terminated
from bubu_sdk.steprun import EndedError, FencedError, StepRunClient, StepRunError
from bubu_sdk.storage import Store
from bubu_sdk.timing import Timing, utc_now

if TYPE_CHECKING:
    from bubu_sdk.artifacts import Artifacts

TIMEOUT_EXIT_CODE: Final = 124
_STORE_ATTEMPTS: Final = 3
_LOG_PATCH_SECONDS: Final = 5.0
_LOG_PUBLISH_SECONDS: Final = 30.0

log = logging.getLogger(logs.SDK_LOGGER)


@dataclass(frozen=True)
class World:
    """Everything outside the process; tests replace it."""

    environ: Mapping[str, str]
    connect: Callable[[Mapping[str, str]], Cluster]
    open_store: Callable[[Mapping[str, str]], Store | None]
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep
    step_run_client: Callable[..., StepRunClient] = StepRunClient
    setup: Callable[[], Any] | None = None
    """Returns what the engram's ``setup`` returned earlier, in a process that serves many steps; ``None``: call it."""
    is_watched: bool = False
    """Whether another process ends this one if it hangs. Then short work needs no thread, so it takes less time."""
    ends_at: float | None = None
    """When the time of the step is over, if that is before ``BUBU_STEP_TIMEOUT`` has passed; ``time.monotonic()``."""


@dataclass(frozen=True)
class _Result:
    """The result of the function stage, before the SDK reports it."""

    value: Any = None
    error: EngramError | None = None
    exit_code: int = 0
    exit_class: ExitClass = ExitClass.SUCCESS
    timed_out: bool = False
    hung: bool = False


class BatchRun:
    """One run of one engram. Call ``execute`` once. Any thread may call ``terminate``, also a signal handler."""

    def __init__(self, engram: StepFunction, world: World, captured: logs.JsonLines) -> None:
        self._engram = engram
        self._world = world
        self._captured = captured
        self._identity = Identity.of(world.environ)
        self._desk = NewsDesk()
        self._began = time.monotonic()
        self._cancelled = threading.Event()

    def terminate(self, signal_number: int) -> None:
        """Cancel the function. After at most the grace period, report the outcome and end."""
        self._desk.post(Terminated(signal_number))

    def execute(self) -> Ending:
        """Run all stages. A fault of the engram, its inputs or the cluster raises no exception; it is in the result."""
        try:
            environment = contract.load(self._world.environ, now=self._world.now())
        except EngramError as error:
            return self._refuse(error)
        for warning in environment.warnings:
            log.warning(warning)
        if not self._identity.step_run or not self._identity.namespace:
            log.error(
                "BUBU_STEPRUN_NAME and BUBU_STEPRUN_NAMESPACE are not set: this process is not the container of a step"
                "; to use the file here, give --inputs '{…}' or --manifest"
            )
            return Ending(1)
        try:
            cluster = self._world.connect(self._world.environ)
        except (EngramError, OSError) as error:
            log.error("no Kubernetes client: %s", error)  # noqa: TRY400 - a setting is wrong; the trace says nothing more
            return Ending(1)
        return _Step(self, environment, cluster).run()

    def _refuse(self, error: EngramError) -> Ending:
        """Report a malformed environment. The identity is known, so the StepRun can still receive the failure."""
        log.error("context: %s", error)
        if self._identity.step_run and self._identity.namespace:
            now = self._world.now()
            update = status.failed(
                error, output=None, exit_code=1, exit_class=error.exit_class, started_at=now, finished_at=now
            )
            try:
                steprun = self._world.step_run_client(
                    self._world.connect(self._world.environ), self._identity, sleep=self._world.sleep
                )
                steprun.report(update)
            except (KubeError, StepRunError, EngramError, OSError) as failure:
                log.error("the failure could not be reported: %s", failure)  # noqa: TRY400 - as above
        return Ending(1)


class _Step:
    """The run of a container that has a valid environment and a client for its cluster."""

    def __init__(self, run: BatchRun, environment: Environment, cluster: Cluster) -> None:
        self._run = run
        self._engram = run._engram
        self._world = run._world
        self._desk = run._desk
        self._cancelled = run._cancelled
        self._captured = run._captured
        self._environment = environment
        self._cluster = cluster
        self._store: Store | None = None
        self._deadline = run._began + environment.step_timeout_seconds
        if self._world.ends_at is not None:
            self._deadline = min(self._deadline, self._world.ends_at)
        self._loaded: Any = None
        self._steprun = self._world.step_run_client(
            cluster,
            environment.identity,
            operation_timeout_seconds=environment.operation_timeout_seconds,
            patch_retries=environment.patch_retries,
            sleep=self._world.sleep,
        )

    def run(self) -> Ending:
        ending = self._work()
        self._publish_logs()
        return ending

    def _work(self) -> Ending:
        try:
            self._store = self._world.open_store(self._world.environ)
            signature = self._engram.signature()
        except (EngramError, OSError, TypeError, NameError) as error:
            return self._report(_failure(errors.as_engram_error(error, ErrorType.INITIALIZATION)))
        sources = Sources(self._environment, self._world.environ, self._cluster, self._store, artifacts=self._artifacts)
        quick = self._reads_nothing()
        preparing = Stage("config", lambda: preparation.prepare_config(sources, signature), self._desk, inline=quick)
        try:
            step_run = self._claim()
        except EndedError as error:
            self._store = None
            log.warning("not started: the step has already ended (%s)", error.phase)
            return Ending(1)
        except (StepRunError, KubeError) as error:
            self._store = None  # so that the status keeps its link to the logs of the Pod that did the work
            log.error("not started: %s", error)  # noqa: TRY400 - an ended step or a missing right, not a bug here
            return Ending(1)
        if step_run:
            self._captured.add(attempt=_attempt_of(step_run))
        if (step_run.get("status") or {}).get("phase") == status.Phase.SUCCEEDED:
            self._store = None
            log.info("not started: an earlier Pod has already finished this step")
            return Ending(0)
        problem = self._problem(preparing, ErrorType.INITIALIZATION)
        if problem is not None:
            return self._report(problem)
        reading = Stage(
            "inputs", lambda: preparation.prepare_inputs(sources, signature, step_run), self._desk, inline=quick
        )
        problem = self._problem(reading, ErrorType.VALIDATION)
        if problem is not None:
            return self._report(problem)
        problem = self._set_up()
        if problem is not None:
            return self._report(problem)
        if time.monotonic() >= self._deadline:
            return self._report(self._timeout())  # nothing begins after it
        (config, secrets), (inputs, schemas) = preparing.result, reading.result
        result = self._call(Prepared(config, secrets, inputs, schemas), signature, step_run)
        return self._report(self._checked(result, schemas))

    def _reads_nothing(self) -> bool:
        """Whether the arguments need no request and no file, and another process ends this one if they hang."""
        environment = self._environment
        given = (self._world.environ.get(name, "") for name in ("BUBU_TRIGGER_DATA", "BUBU_STEP_CONFIG"))
        return (
            self._world.is_watched
            and environment.skip_schema_validation
            and not any(value.startswith("file:") for value in environment.secret_descriptors.values())
            and not any("$bubu" in text for text in given)
        )

    def _claim(self) -> Object:
        """The StepRun, claimed for this Pod; an empty object if the API server does not answer.

        Raises:
            StepRunError: the StepRun has ended.
            KubeError: the StepRun does not exist, or this Pod may not read it.
        """
        try:
            return self._steprun.claim(self._claimed)
        except KubeError as error:
            if isinstance(error, NotFoundError) or not error.is_outage:
                raise
            log.warning("the StepRun could not be claimed; the engram runs without a claim: %s", error)
            return {}

    def _claimed(self, current: Object) -> status.StatusUpdate:
        phase, owner, pod = str(current.get("phase") or ""), current.get("podName"), self._environment.identity.pod
        if phase == status.Phase.SUCCEEDED:
            return status.StatusUpdate()  # its Pod died between the report and its exit: there is no more work
        if phase != status.Phase.FAILED and not status.may_become(phase, status.Phase.RUNNING):
            raise EndedError(phase, status.Phase.RUNNING)
        if owner and pod and owner != pod:
            log.warning("taking the StepRun over from Pod %s", owner)
        return status.claimed(pod, current, self._environment.started_at)

    def _problem(self, stage: Stage, kind: ErrorType) -> _Result | None:
        """Wait for a stage that prepares arguments. Returns the reason why the step cannot continue, or ``None``."""
        if not self._desk.wait_for(stage, self._deadline):
            return self._terminated(hung=False) if self._desk.terminated is not None else self._timeout()
        if stage.error is None:
            return None
        if kind is ErrorType.VALIDATION and stage.ended_at > self._deadline:
            return self._timeout()
        return _failure(errors.as_engram_error(stage.error, kind))

    def _set_up(self) -> _Result | None:
        """Call the engram's ``setup``. Returns the reason why the step cannot continue, or ``None``."""
        if self._world.setup is not None:
            self._loaded = self._world.setup()
        elif self._engram.setup is not None:
            host = host_for_setup(self._engram.setup, self._engram.backend)
            stage = Stage("setup", self._engram.setup, self._desk, host)
            problem = self._problem(stage, ErrorType.INITIALIZATION)
            if problem is not None:
                host.cancel()
                return problem
            self._loaded = stage.result
        return None

    def _call(self, prepared: Prepared, signature: Signature, step_run: Object) -> _Result:
        arguments: dict[str, Any] = {}
        if signature.context is not None:
            arguments[signature.context] = self._context(prepared, step_run)
        if signature.inputs is not None:
            arguments[signature.inputs] = prepared.inputs
        host = host_for(self._engram.function, self._engram.backend)
        function = under_debugger(self._engram.function, self._world.environ)
        stage = Stage("engram", lambda: function(**arguments), self._desk, host)
        if not self._desk.wait_for(stage, self._deadline):
            self._cancelled.set()
            host.cancel()
            grace_ends = time.monotonic() + self._environment.grace_seconds
            self._desk.wait_for(stage, grace_ends, heed_termination=False)
        return self._judge(stage)

    def _judge(self, stage: Stage) -> _Result:
        terminated = self._desk.terminated is not None
        late = not stage.ended or stage.ended_at > self._deadline
        if not stage.ended:
            return self._terminated(hung=True) if terminated else self._timeout(hung=True)
        if stage.error is None:
            return self._timeout(stage.result) if late else _Result(stage.result)
        output = getattr(stage.error, "output", None)
        if late and not terminated:
            return self._timeout(output)
        if terminated and not isinstance(stage.error, EngramError):
            return self._terminated(hung=False)
        return self._judge_error(stage.error)

    def _judge_error(self, error: BaseException) -> _Result:
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
            if code == 0:
                return _Result({})
            ended = EngramError(f"the engram called sys.exit({error.code!r})")
            ended.raised = type(error)
            return _Result(None, ended, code & 0xFF or 1, ExitClass.of_exit_code(code & 0xFF or 1))
        log.error("the engram failed: %s", error, exc_info=error)
        structured = errors.as_engram_error(error, ErrorType.EXECUTION)
        cause = structured.__cause__
        if isinstance(cause, KubeError) and cause.retryable:
            structured = EngramError(structured.message, retryable=True)
            structured.raised = type(cause)
        return _Result(structured.output, structured, 1, structured.exit_class)

    def _checked(self, result: _Result, schemas: Any) -> _Result:
        """``result`` with its value as plain JSON that fits the output schema; otherwise the failure of the output."""
        if result.error is not None and result.value is None:
            return result
        try:
            value = encode.output_object(result.value)
            if result.error is None:
                schemas.check_output(value)
        except EngramError as error:
            if result.error is not None:
                log.warning("the output of the failed engram is dropped: %s", error)
                return _replaced(result, None)
            return _Result(None, error, 1, error.exit_class)
        except RecursionError:
            return _Result(None, errors.OutputError("the output is nested too deeply"), 1, ExitClass.TERMINAL)
        return _replaced(result, value)

    def _report(self, result: _Result) -> Ending:
        """Offload the output, write the terminal status, and decide the exit code."""
        output: Any = None
        if result.value is not None:
            quick = self._world.is_watched and self._store is None
            stage = Stage("output", lambda: self._offload(result.value), self._desk, inline=quick)
            limit = _STORE_ATTEMPTS * (self._environment.storage_timeout_seconds + 1)
            if self._desk.terminated is not None:
                limit = min(limit, self._environment.grace_seconds)
            if not self._desk.wait_for(stage, time.monotonic() + limit) and self._desk.terminated is not None:
                self._desk.wait_for(stage, time.monotonic() + self._environment.grace_seconds, heed_termination=False)
            problem = stage.error if stage.ended else StorageError("the store did not answer in time")
            if problem is not None and result.error is None:
                error = errors.as_engram_error(problem, ErrorType.STORAGE)
                result = _Result(None, error, 1, error.exit_class)
            elif problem is not None:
                log.warning("the output of the failed engram is dropped: %s", problem)
            else:
                output = stage.result
        reported = self._patch(self._update(result, output))
        if result.timed_out:
            return Ending(TIMEOUT_EXIT_CODE, result.hung)
        if result.error is not None:
            return Ending(result.exit_code, result.hung)
        if reported and self._environment.hybrid_bridge:
            log.warning("hybrid bridge skipped: the Python SDK does not support it")
        return Ending(0 if reported else 1)

    def _update(self, result: _Result, output: Any) -> status.StatusUpdate:
        started_at, finished_at = self._environment.started_at, self._world.now()
        if result.error is None:
            return status.succeeded(output, started_at=started_at, finished_at=finished_at)
        if result.timed_out:
            return status.timed_out(result.error, output=output, started_at=started_at, finished_at=finished_at)
        return status.failed(
            result.error,
            output=output,
            exit_code=result.exit_code,
            exit_class=result.exit_class,
            started_at=started_at,
            finished_at=finished_at,
        )

    def _patch(self, update: status.StatusUpdate) -> bool:
        try:
            self._steprun.report(update, patient_until=self._deadline)
        except EndedError as error:
            log.warning("the step has already ended (%s); this result is not recorded", error.phase)
        except FencedError:
            log.warning("another attempt of the step has begun; this result is not recorded")
        except (KubeError, StepRunError) as error:
            log.error("the outcome %s could not be reported: %s", update.phase, error)  # noqa: TRY400 - for the administrator of the cluster
        else:
            log.info("step ended", extra={"phase": update.phase, "exitClass": update.fields["exitClass"]})
            return True
        return False

    def _offload(self, value: Any) -> Any:
        """The dehydrated output. It tries three times, because a busy store may work again a second later."""
        environment = self._environment
        identity = environment.identity
        place = dehydrate.Placement(
            prefix=self._world.environ.get("BUBU_STORAGE_OUTPUT_PREFIX") or dehydrate.OUTPUT_PREFIX,
            namespace=identity.namespace,
            step_run=identity.step_run,
            schema=identity.schema_id("output"),
            schema_version=identity.engram_version or identity.story_version,
            with_digest=True,
        )
        for attempt in range(1, _STORE_ATTEMPTS + 1):
            try:
                return dehydrate.dehydrate(
                    value,
                    self._store,
                    place,
                    inline_bytes=environment.max_inline_bytes,
                    max_depth=environment.max_depth,
                )
            except StorageError as error:
                if isinstance(error, PayloadPathError) or not error.retryable or attempt == _STORE_ATTEMPTS:
                    raise
                log.warning("offloading the output failed, trying again: %s", error)
                self._world.sleep(float(attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _context(self, prepared: Prepared, step_run: Object) -> Context[Any] | AsyncContext[Any]:
        environment, world = self._environment, self._world
        effects = Effects(
            self._cluster,
            self._steprun,
            environment.identity,
            timing=Timing(world.now),
            stop=self._cancelled,
            patient_until=self._deadline,
            max_details_bytes=_bytes(world.environ, "BUBU_EFFECT_MAX_DETAILS_BYTES", DEFAULT_MAX_DETAILS_BYTES),
        )
        max_signal_bytes = _bytes(world.environ, "BUBU_SIGNAL_MAX_PAYLOAD_BYTES", DEFAULT_MAX_PAYLOAD_BYTES)
        remaining = timedelta(seconds=max(0.0, self._deadline - time.monotonic()))
        kind = AsyncContext if self._engram.is_async else Context
        return kind(
            identity=environment.identity,
            _config=prepared.config,
            secrets=prepared.secrets,
            attempt=_attempt_of(step_run),
            started_at=environment.started_at,
            deadline=world.now() + remaining,
            transports=environment.transports,
            logger=logging.getLogger(logs.USER_LOGGER),
            cancelled=self._cancelled,
            setup=self._loaded,
            _services=Services(self._steprun, effects, self._artifacts, max_signal_bytes, world.now),
        )

    def _artifacts(self) -> Artifacts:
        from bubu_sdk.artifacts import ArtifactPlace, Artifacts

        identity = self._environment.identity
        prefix = self._world.environ.get("BUBU_STORAGE_OUTPUT_PREFIX") or dehydrate.OUTPUT_PREFIX
        return Artifacts(self._store, ArtifactPlace(prefix, identity.namespace, identity.step_run))

    def _timeout(self, output: Any = None, *, hung: bool = False) -> _Result:
        seconds = timedelta(seconds=self._environment.step_timeout_seconds)
        still = "; it ignored its cancellation and was killed" if hung else ""
        error = EngramError(f"the step did not finish within {durations.format_duration(seconds)}{still}")
        return _Result(output, error, TIMEOUT_EXIT_CODE, ExitClass.RETRY, timed_out=True, hung=hung)

    def _terminated(self, *, hung: bool) -> _Result:
        number = self._desk.terminated.number if self._desk.terminated else 15
        still = "; it ignored its cancellation and was killed" if hung else ""
        error = EngramError(f"the container was asked to end (signal {number}){still}", exit_class=ExitClass.RETRY)
        return _Result(None, error, 128 + number, ExitClass.RETRY, hung=hung)

    def _publish_logs(self) -> None:
        """Store the captured lines and link them in the status; best effort, with a time limit."""
        lines = self._captured.captured()
        if self._store is None or not lines:
            return
        limit = _LOG_PATCH_SECONDS if self._desk.terminated is not None else _LOG_PUBLISH_SECONDS
        stage = Stage("logs", lambda: self._store_logs(lines), self._desk)
        if not self._desk.wait_for(stage, time.monotonic() + limit, heed_termination=False):
            log.warning("the logs were not published in time")
        elif stage.error is not None:
            log.warning("the logs were not published: %s", stage.error)

    def _store_logs(self, lines: bytes) -> None:
        assert self._store is not None
        identity = self._environment.identity
        key = logs.object_key(identity, self._world.now())
        self._store.write(key, lines, logs.CONTENT_TYPE)
        self._steprun.update(status.StatusUpdate({"logs": logs.link(identity, key)}), _LOG_PATCH_SECONDS)


def _attempt_of(step_run: Object) -> int:
    return int((step_run.get("status") or {}).get("retries") or 0) + 1


def _failure(error: EngramError) -> _Result:
    log.error("%s: %s", error.type, error)
    return _Result(error.output, error, 1, error.exit_class)


def _replaced(result: _Result, value: Any) -> _Result:
    return _Result(value, result.error, result.exit_code, result.exit_class, result.timed_out, result.hung)


def _bytes(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    return int(text) if text.isdigit() and int(text) > 0 else default
