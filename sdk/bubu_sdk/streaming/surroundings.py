"""What a streaming function gets beside its messages: configuration, secrets, signals, artifacts."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING, Any, Final

from bubu_sdk import logs
from bubu_sdk.contract import Environment
from bubu_sdk.errors import EngramError, Object, StorageError
from bubu_sdk.kube import Cluster, KubeError
from bubu_sdk.preparation import Sources
from bubu_sdk.secret import Secrets
from bubu_sdk.storage import Store
from bubu_sdk.streaming.context import AsyncStreamContext, StreamContext, StreamServices
from bubu_sdk.streaming.messages import Feed

if TYPE_CHECKING:
    from bubu_sdk.artifacts import Artifacts
    from bubu_sdk.steprun import StepRunClient

_SIGNAL_BYTES: Final = 8192


class LateCluster(Cluster):
    """Connects to the API server when it is first needed: most streams never need it, and then it may be missing."""

    def __init__(self, connect: Callable[[], Cluster]) -> None:
        self._connect = functools.cache(connect)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout_seconds: float = 30.0,
    ) -> Object:
        try:
            cluster = self._connect()
        except (EngramError, OSError) as error:
            raise KubeError(f"no Kubernetes client: {error}") from error
        return cluster.request(method, path, body, content_type=content_type, timeout_seconds=timeout_seconds)


@dataclass(frozen=True)
class Surroundings:
    """Where a streaming function runs."""

    environment: Environment
    environ: Mapping[str, str]
    cluster: Cluster
    store: Store | None
    now: Callable[[], datetime]

    @property
    def sources(self) -> Sources:
        """Of configuration and secrets."""
        return Sources(self.environment, self.environ, self.cluster, self.store)

    def context(
        self, *, is_async: bool, config: Callable[[], Any], secrets: Secrets, cancelled: Event, feed: Feed
    ) -> StreamContext[Any] | AsyncStreamContext[Any]:
        """The context of the function."""
        environment = self.environment
        text = self.environ.get("BUBU_SIGNAL_MAX_PAYLOAD_BYTES", "").strip()
        services = StreamServices(
            feed=feed,
            steprun=functools.cache(self._steprun),
            artifacts=functools.cache(self._artifacts),
            max_signal_bytes=int(text) if text.isdigit() and int(text) > 0 else _SIGNAL_BYTES,
            now=self.now,
        )
        kind = AsyncStreamContext if is_async else StreamContext
        return kind(
            identity=environment.identity,
            _config=config,
            secrets=secrets,
            started_at=environment.started_at,
            transports=environment.transports,
            logger=logging.getLogger(logs.USER_LOGGER),
            cancelled=cancelled,
            _services=services,
        )

    def _steprun(self) -> StepRunClient | None:
        from bubu_sdk.steprun import StepRunClient  # few streams have signals

        identity = self.environment.identity
        if not identity.step_run or not identity.namespace:
            return None
        return StepRunClient(
            self.cluster,
            identity,
            operation_timeout_seconds=self.environment.operation_timeout_seconds,
            patch_retries=self.environment.patch_retries,
        )

    def _artifacts(self) -> Artifacts:
        from bubu_sdk import dehydrate
        from bubu_sdk.artifacts import ArtifactPlace, Artifacts

        identity = self.environment.identity
        if not identity.step_run or not identity.namespace:
            raise StorageError("artifacts unavailable: this process has no StepRun", retryable=False)
        prefix = self.environ.get("BUBU_STORAGE_OUTPUT_PREFIX") or dehydrate.OUTPUT_PREFIX
        return Artifacts(self.store, ArtifactPlace(prefix, identity.namespace, identity.step_run))
