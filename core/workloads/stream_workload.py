"""The input of the builders of a realtime step: one attempt, which is the life of one workload. Names and labels. Pure.

An attempt has a generation, its number plus one. A binding says the lowest generation that the hub admits, so that a
container of an earlier attempt cannot connect any more. Source: streaming contract 6, StepRun contract 22.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bubu_contract.identity import compose, label_value
from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.api.resource import DEPLOYMENT, STATEFUL_SET, STEP_RUN, Resource
from core.workloads.step_workload import StepWorkload

APP_NAME: Final = "bobrapet-realtime-runtime"
MANAGED_BY: Final = "steprun-controller"
SELECTOR: Final = f"{keys.LABEL_APP_NAME}={APP_NAME},{keys.LABEL_APP_MANAGED_BY}={MANAGED_BY}"
"""Selects the objects that run realtime steps."""
GRPC_PORT_NAME: Final = "grpc"

STATEFUL_SET_LENGTH: Final = 52
"""Pods of a StatefulSet have a label with its name, a dash and up to ten more characters."""
DIGEST_LENGTH: Final = 10
_SERVICE_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


class StreamMode(StrEnum):
    """The kind of workload that runs a step; the values are those of ``Engram.spec.mode``."""

    DEPLOYMENT = "deployment"
    STATEFUL_SET = "statefulset"

    @property
    def resource(self) -> Resource:
        return DEPLOYMENT if self is StreamMode.DEPLOYMENT else STATEFUL_SET


@dataclass(frozen=True, slots=True)
class StreamWorkload:
    """One attempt of a realtime step, whose TransportBinding is stored; JSON payloads are already encoded."""

    step: StepWorkload
    mode: StreamMode
    binding: ReadOnlyObject
    """The stored TransportBinding, whose spec does not change as long as the StepRun exists."""
    endpoint: str
    """``host:port`` of the hub."""
    transports: str
    """``BUBU_TRANSPORTS``."""
    ports: tuple[Object, ...] = ()
    """Of the Service, as the template declares them; empty: the port of the stream."""
    heartbeat_seconds: int = 30
    """Of the Control call."""
    has_authority: bool = False
    """Whether the container must trust the authority of the hub, which is in a ConfigMap of the namespace."""
    with_in_packets: bool = False
    """Whether the hub sends ``with`` as the inputs of each packet: the step has ``with``, and no ``runtime``."""
    secret_name: str = ""
    """Of ``stream_credentials.stream_secret``."""

    @property
    def generation(self) -> int:
        return generation_of(self.step.attempt)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The merged settings of the stream."""
        found: Mapping[str, Any] = self.binding["spec"].get("rawSettings") or {}
        return found

    @property
    def service_name(self) -> str:
        return service_name(self.step.step_run_name)


def generation_of(attempt: int) -> int:
    """The generation of the workload of an attempt, which begin at 0."""
    return attempt + 1


def chosen_mode(engram: ReadOnlyObject) -> StreamMode | None:
    """The mode of an Engram that serves streams; None: it runs as a Job."""
    word = (engram.get("spec") or {}).get("mode")
    return StreamMode(word) if word in set(StreamMode) else None


def binding_name(story_run: str, step: str) -> str:
    """
    >>> binding_name("run-1", "Ask.LLM")
    'run-1-ask-llm-transport'
    """
    return compose(story_run, step, "transport")


def workload_name(step_run: str, mode: StreamMode) -> str:
    """The name of the StepRun; that of a StatefulSet is cut where its Pods could not be created with it."""
    if mode is StreamMode.DEPLOYMENT or len(step_run) <= STATEFUL_SET_LENGTH:
        return step_run
    digest = hashlib.sha256(step_run.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{step_run[: STATEFUL_SET_LENGTH - DIGEST_LENGTH - 1].rstrip('-')}-{digest}"


def service_name(step_run: str) -> str:
    """The name of the StepRun; with a letter before it, if it begins with a digit, as no Service may."""
    return step_run if _SERVICE_NAME.fullmatch(step_run) else compose("step", step_run)


def stream_labels(step: StepWorkload) -> dict[str, str]:
    """The labels of the workload, of its Pods and its Service."""
    return {
        keys.LABEL_APP_NAME: APP_NAME,
        keys.LABEL_APP_MANAGED_BY: MANAGED_BY,
        keys.LABEL_STEP_RUN: label_value(step.step_run_name),
        keys.LABEL_STORY_RUN: label_value(step.story_run_name),
        keys.LABEL_STORY: label_value(step.story_name),
    }


def stream_annotations(step: StepWorkload) -> dict[str, str]:
    """On the workload, its Service and its binding: the Story and the step, whole, where labels may be cut."""
    return {keys.LABEL_STORY: step.story_name, keys.LABEL_STEP: step.step_id}


def controlled_by_step_run(step: StepWorkload, name: str, resource: Resource) -> Object:
    """The beginning of an object that the StepRun controls: kind, name and owner."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": step.namespace, "ownerReferences": [owner_of(step)]},
    }


def owner_of(step: StepWorkload) -> Object:
    return {
        "apiVersion": STEP_RUN.api_version,
        "kind": STEP_RUN.kind,
        "name": step.step_run_name,
        "uid": step.step_run_uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
