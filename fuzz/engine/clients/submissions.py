"""Clients that ask for runs: Impulses with the SDK, which submit StoryTriggers, and ``bobrapet submit --key``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final

from bubu_contract import submission
from bubu_sdk import delivery
from bubu_sdk.counters import ThrottleCounter
from bubu_sdk.delivery import DeliveryPolicy
from bubu_sdk.kube import RUNS_API, ConflictError, KubeError
from bubu_sdk.storage import Writable
from bubu_sdk.storytrigger import Origin, TriggerDecision
from bubu_sdk.trigger_errors import TriggerError
from bubu_sdk.triggers import Request, Triggers, TriggerSettings
from core.api.objects import Object
from core.api.resource import STORY_RUN
from core.workloads.keyed_request import Decision, decide, keyed_run
from fuzz.engine.clients.strands import Client
from fuzz.engine.cluster import Cluster

NAMESPACE: Final = "default"
WAITS_SECONDS: Final = 5.0
"""How long one attempt waits for the decision."""
ATTEMPTS: Final = 3
OFFLOADED_ABOVE_BYTES: Final = 64
INLINE_UP_TO_BYTES: Final = 4096
"""The operator allows less, so larger inputs are rejected."""
_DEPTH: Final = 10


@dataclass(frozen=True)
class Submission:
    """One event, as a client of the model submits it. Equal events are equal requests."""

    at: float = 0.0
    """Seconds after the beginning."""
    key: str = ""
    """The business key."""
    id: str = ""
    """The id of a request without a key."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    story: str = "story"
    version: str = ""
    """The version of the Story that it requires; empty: any."""
    impulse: str = ""
    """The Impulse that submits; empty: none."""
    key_from: str = ""
    """The key template of the Impulse; empty: none."""
    offloads: bool = False
    """Whether large inputs are moved into the store."""
    by_hand: bool = False
    """Whether a person submits it with ``bobrapet submit --key``, without a StoryTrigger."""
    times: int = 1
    """How often the event comes: each time after the last one was dealt with."""

    @property
    def identity(self) -> str:
        if not self.key_from:
            return self.key or self.id
        impulse = {"name": self.impulse, "namespace": NAMESPACE}
        roots = {"inputs": dict(self.inputs), "story": {"name": self.story, "namespace": NAMESPACE}, "impulse": impulse}
        return delivery.resolve_key(self.policy, None, roots)

    @property
    def trigger(self) -> str:
        """The name of its StoryTrigger."""
        return submission.trigger_name(NAMESPACE, self.story, self.identity)

    @property
    def run(self) -> str:
        """The name of its run."""
        return submission.story_run_name(NAMESPACE, self.story, self.identity)

    @property
    def policy(self) -> DeliveryPolicy:
        environ = {"BUBU_TRIGGER_RETRY_MAX_ATTEMPTS": str(ATTEMPTS)}
        if self.key_from:
            environ |= {"BUBU_TRIGGER_DEDUPE_MODE": "key", "BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE": self.key_from}
        return delivery.load(environ)


@dataclass(frozen=True)
class Told:
    """What a client has learned of its request."""

    submission: Submission
    newest: int
    """The number of the last write at that moment."""
    decision: TriggerDecision | None = None
    """The answer; None for an error."""
    error: TriggerError | KubeError | None = None


@dataclass
class ModelStore:
    """The object storage in which Impulses put large inputs."""

    cluster: Cluster

    def read(self, key: str) -> bytes:
        return self.cluster.stored[key]

    def write(self, key: str, content: bytes, content_type: str) -> None:
        del content_type
        self.cluster.store(key, content)

    def upload(self, key: str, source: IO[bytes], size_bytes: int, content_type: str) -> None:
        raise AssertionError("clients of the model have no files")

    def download(self, key: str, target: Writable, size_bytes: int) -> None:
        raise AssertionError("clients of the model have no files")


def submit(client: Client, store: ModelStore, wanted: Submission, tell: Callable[[Told], None]) -> None:
    """The work of a client, which blocks: submit the request and wait for the decision."""
    try:
        if wanted.by_hand:
            tell(Told(wanted, client.newest, _start_by_hand(client, wanted)))
        else:
            found = _triggers(client, store, wanted).trigger(_request(wanted), timeout_seconds=WAITS_SECONDS)
            tell(Told(wanted, client.newest, found))
    except (TriggerError, KubeError) as error:
        tell(Told(wanted, client.newest, error=error))


def _triggers(client: Client, store: ModelStore, wanted: Submission) -> Triggers:
    origin = Origin(NAMESPACE, wanted.impulse, NAMESPACE if wanted.impulse else "", wanted.story, NAMESPACE)
    limit = OFFLOADED_ABOVE_BYTES if wanted.offloads else INLINE_UP_TO_BYTES
    settings = TriggerSettings(origin, wanted.policy, 30.0, limit, _DEPTH)
    counter = ThrottleCounter(client, NAMESPACE, "")
    return Triggers(client, store, settings, counter, clock=client, chance=lambda: 0.5)


def _request(wanted: Submission) -> Request:
    key, submission_id = (None, None) if wanted.key_from else (wanted.key or None, wanted.id or None)
    return Request(wanted.story, wanted.inputs, key, submission_id, version=wanted.version or None)


def _start_by_hand(client: Client, wanted: Submission) -> TriggerDecision | None:
    """As ``cli.workflow`` does: the run is created by its name, or found and compared."""
    story = {"name": wanted.story} | ({"version": wanted.version} if wanted.version else {})
    bare: Object = {
        "apiVersion": STORY_RUN.api_version,
        "kind": STORY_RUN.kind,
        "metadata": {},
        "spec": {"storyRef": story, "inputs": dict(wanted.inputs)},
    }
    manifest = keyed_run(bare, wanted.key, NAMESPACE)
    collection = f"{RUNS_API}/namespaces/{NAMESPACE}/storyruns"
    try:
        client.request("POST", collection, manifest)
    except ConflictError:
        decide(manifest, client.request("GET", f"{collection}/{manifest['metadata']['name']}"))
    return None


__all__ = ["Decision", "ModelStore", "Submission", "Told", "submit"]
