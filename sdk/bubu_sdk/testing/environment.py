"""Runs an engram in a unit test exactly as in its container, without a container, a cluster or a store.

    environment = EngramEnvironment(config={"unit": "C"}, secrets={"api": {"token": "t"}})
    outcome = environment.run(main, {"city": "Oslo"})
    assert outcome.exit_code == 0
    assert outcome.output == {"temperature": 4}

The environment consists of the environment variables of the contract, and of an API server and a store in memory; all
other code is the production code.
"""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bubu_contract import canonical, instants
from bubu_sdk import batch, claims, hydrate, logs
from bubu_sdk.contract import Identity
from bubu_sdk.errors import Object
from bubu_sdk.kube import CATALOG_API, ENGRAMS_API
from bubu_sdk.signature import StepFunction
from bubu_sdk.testing.cluster import InMemoryCluster, claim_path, step_run_path
from bubu_sdk.testing.store import InMemoryStore
from bubu_sdk.timing import utc_now

NAMESPACE = "default"
STEP_RUN = "story-run-step"


@dataclass(frozen=True)
class EngramOutcome:
    """Everything that an engram left behind."""

    exit_code: int
    status: Object
    """``StepRun.status`` at the end, in the operator's view: large outputs are references."""
    output: Any
    """The output with its references resolved; ``None`` if no output was published."""
    patches: list[Object]
    """The bodies of the status patches, in order."""
    claims: dict[str, Object]
    """The specs of the EffectClaims, by effect key."""
    logs: list[Object]
    """The log lines, decoded."""
    hung: bool
    """The function ignored its cancellation; its thread is still running."""

    @property
    def phase(self) -> str:
        """``Succeeded``, ``Failed``, ``Timeout`` …; empty if nothing was reported."""
        return str(self.status.get("phase", ""))

    @property
    def error(self) -> Object | None:
        """The structured error, if the step failed."""
        error: Object | None = self.status.get("error")
        return error

    @property
    def signals(self) -> Object:
        """Signal values by key, as shown in the status."""
        signals: Object = self.status.get("signals", {})
        return signals

    @property
    def signal_events(self) -> list[Object]:
        """Events of the signals, in order."""
        events: list[Object] = self.status.get("signalEvents", [])
        return events

    @property
    def effects(self) -> list[Object]:
        """Recorded effects, in order."""
        effects: list[Object] = self.status.get("effects", [])
        return effects


class EngramEnvironment:
    """One StepRun and its environment. A second ``run`` on the same environment is a retry of the same step.

    Args:
        config: the ``with`` of Engram and step.
        secrets: logical name → key → value, as if mounted by the template's secret schema.
        step_timeout: a Go duration, e.g. ``"30s"``.
        grace: the time that a cancelled function has to end, a Go duration.
        inline_bytes: outputs above this are offloaded to the store in memory; ``None`` disables storage.
        input_schema, output_schema: the schemas of the EngramTemplate; checked if ``jsonschema-rs`` is installed.
        environ: further environment variables; they override everything above.
    """

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        step_timeout: str = "30s",
        grace: str = "5s",
        inline_bytes: int | None = 1024,
        input_schema: Object | None = None,
        output_schema: Object | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.cluster = InMemoryCluster()
        self.store = InMemoryStore()
        self._storage = inline_bytes is not None
        self._running: batch.BatchRun | None = None
        self.environ: dict[str, str] = {
            "BUBU_STORY_NAME": "story",
            "BUBU_STORYRUN_ID": "story-run",
            "BUBU_STEP_NAME": "step",
            "BUBU_STEPRUN_NAME": STEP_RUN,
            "BUBU_STEPRUN_NAMESPACE": NAMESPACE,
            "BUBU_POD_NAMESPACE": NAMESPACE,
            "BUBU_POD_NAME": "story-run-step-pod",
            "BUBU_ENGRAM_NAME": "engram",
            "BUBU_EXECUTION_MODE": "batch",
            "BUBU_STEP_CONFIG": canonical.encode(dict(config or {})).decode(),
            "BUBU_STEP_TIMEOUT": step_timeout,
            "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT": grace,
            "BUBU_MAX_INLINE_SIZE": str(1_000_000 if inline_bytes is None else inline_bytes),
            "BUBU_MAX_RECURSION_DEPTH": "32",
            "BUBU_STARTED_AT": instants.format_instant(utc_now()),
        }
        for logical, values in (secrets or {}).items():
            self.environ[f"BUBU_SECRET_{logical}"] = f"env:{logical}_"
            self.environ |= {f"{logical}_{key}": value for key, value in values.items()}
        self.environ |= environ or {}
        self.cluster.add(self.step_run_path, _step_run(Identity.of(self.environ)))
        self.cluster.add(
            f"{ENGRAMS_API}/namespaces/{NAMESPACE}/engrams/engram", {"spec": {"templateRef": {"name": "engram"}}}
        )
        schemas = {"inputSchema": input_schema, "outputSchema": output_schema}
        spec = {name: schema for name, schema in schemas.items() if schema is not None}
        self.cluster.add(f"{CATALOG_API}/engramtemplates/engram", {"spec": spec})

    @property
    def step_run_path(self) -> str:
        """The path of the StepRun in ``cluster``."""
        return step_run_path(
            self.environ.get("BUBU_STEPRUN_NAMESPACE", NAMESPACE), self.environ.get("BUBU_STEPRUN_NAME", STEP_RUN)
        )

    @property
    def status(self) -> Object:
        """The current status of the StepRun; assign to it to start from another one."""
        status: Object = self.cluster.objects[self.step_run_path].get("status", {})
        return status

    @status.setter
    def status(self, status: Object) -> None:
        self.cluster.add(self.step_run_path, {**self.cluster.objects[self.step_run_path], "status": status})

    @property
    def output(self) -> Any:
        """The current output with its references resolved; ``None`` if there is none."""
        return self._hydrated(self.status.get("output"))

    @property
    def claims(self) -> dict[str, Object]:
        """The specs of the EffectClaims of the StepRun, by effect key."""
        found = (document for path, document in self.cluster.objects.items() if "/effectclaims/" in path)
        return {str(claim["spec"]["effectKey"]): claim["spec"] for claim in found}

    def claim_effect_elsewhere(self, key: str, *, lease_seconds_left: int = 600) -> None:
        """Let another process hold the claim of an effect, as an attempt that still runs, or that was killed, does.

        With ``lease_seconds_left`` of 0 its lease has expired: the next run takes the effect over.
        """
        identity = Identity.of(self.environ)
        seconds = max(lease_seconds_left, claims.DEFAULT_LEASE_SECONDS)
        taken_at = utc_now() - timedelta(seconds=seconds - lease_seconds_left)
        step_run = self.cluster.objects[self.step_run_path]
        claim = claims.new_claim(identity, step_run, key.strip(), "another-pod:0", seconds, taken_at)
        self.cluster.add(claim_path(identity.namespace, claim["metadata"]["name"]), claim)

    def run(self, work: StepFunction | Callable[..., Any], inputs: Mapping[str, Any] | None = None) -> EngramOutcome:
        """Run an engram to its end; blocks. The outcome has what the engram left behind, also its exception."""
        engram = work if isinstance(work, StepFunction) else StepFunction(work)
        if inputs is not None:
            self.environ["BUBU_TRIGGER_DATA"] = canonical.encode(dict(inputs)).decode()
        stream = io.StringIO()
        handler = logs.JsonLines(Identity.of(self.environ), stream)
        first_patch = len(self.cluster.status_patches)
        world = batch.World(
            environ=self.environ,
            connect=lambda _: self.cluster,
            open_store=lambda _: self.store if self._storage else None,
            sleep=lambda _: None,
        )
        debug = self.environ.get("BUBU_DEBUG", "") == "true"
        with logs.Attached(handler, debug=debug, root=False):
            self._running = batch.BatchRun(engram, world, handler)
            try:
                ending = self._running.execute()
            finally:
                self._running = None
        return EngramOutcome(
            exit_code=ending.exit_code,
            status=self.status,
            output=self.output,
            patches=self.cluster.status_patches[first_patch:],
            claims=self.claims,
            logs=[json.loads(line) for line in stream.getvalue().splitlines()],
            hung=ending.hung,
        )

    async def run_async(
        self, work: StepFunction | Callable[..., Any], inputs: Mapping[str, Any] | None = None
    ) -> EngramOutcome:
        """``run`` for tests that are coroutines, under asyncio or Trio.

        Cancellation: waits until the engram ends; call ``cancel`` to end it earlier.
        """
        from bubu_sdk import hosting

        outcome: EngramOutcome = await hosting.in_thread(lambda: self.run(work, inputs))
        return outcome

    def cancel(self) -> None:
        """Do what SIGTERM does to the container; call it from another thread or from the engram itself."""
        if self._running is not None:
            self._running.terminate(signal.SIGTERM)

    def _hydrated(self, output: Any) -> Any:
        def no_kube(*_: Any) -> str:
            raise AssertionError("an output holds no ConfigMap or Secret references")

        return hydrate.Hydrator(self.store, no_kube, namespace=NAMESPACE, max_depth=256).hydrate(output, "output")


def _step_run(identity: Identity) -> Object:
    return {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StepRun",
        "metadata": {"name": identity.step_run, "namespace": identity.namespace},
        "spec": {
            "storyRunRef": {"name": identity.story_run},
            "stepId": identity.step,
            "engramRef": {"name": identity.engram},
            "idempotencyKey": f"ns/{identity.namespace}/storyrun/{identity.story_run}/step/{identity.step}",
        },
        "status": {"phase": "Running", "retries": 0},
    }
