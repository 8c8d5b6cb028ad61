"""A pool of warm workers: its name, its account, its Deployment, and what is different for each step. Pure.

A pool serves the steps of one Engram in one namespace whose containers would be equal but for the variables in
``OF_STEP``. Its name has a digest of everything else, so a change of the Engram, its template or a policy makes another
pool. The account owns all objects of the pool: they go with it. Source: StepRun contract 3.5; docs/warm-workers.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Final

import orjson

from bubu_contract.durations import format_duration, parse_duration
from bubu_contract.identity import compose, label_value
from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.api.quantity import parse_quantity
from core.api.resource import DEPLOYMENT, SERVICE_ACCOUNT
from core.policy.layers import ExecutionPolicy
from core.policy.warm import WarmPolicy
from core.workloads.environment import GRACE, TEMPLATE_CONTEXT, TRACE_VARIABLES, EnvVar, batch_environment, literal
from core.workloads.pod_policy import container_basics, placement, pod_security
from core.workloads.secrets import secret_env_from, secret_volume_mounts, secret_volumes
from core.workloads.step_workload import ENGRAM_CONTAINER, StepWorkload
from core.workloads.storage import identity_labels, storage_volume_mounts, storage_volumes
from core.workloads.tls import tls_volume_mounts, tls_volumes
from core.workloads.volumes import policy_volume_mounts, policy_volumes
from core.workloads.worker_access import owned_by_account, pool_labels, worker_account

MAX_POOL_NAME: Final = 46
"""Names of Pods of a Deployment are up to 17 characters longer, and must be label values."""
OF_STEP: Final = frozenset(
    {
        *("BUBU_STORY_NAME", "BUBU_STORY_VERSION", "BUBU_STORYRUN_ID", "BUBU_STEP_NAME", "BUBU_STEPRUN_NAME"),
        *("BUBU_TRIGGER_DATA", "BUBU_STEP_CONFIG", TEMPLATE_CONTEXT, "BUBU_SKIP_INPUT_TEMPLATING"),
        *("BUBU_STARTED_AT", "BUBU_STEP_TIMEOUT", "BUBU_MAX_INLINE_SIZE", "BUBU_MAX_RECURSION_DEPTH", "BUBU_DEBUG"),
        GRACE,
        *TRACE_VARIABLES,
    }
)
"""Variables that each step has for itself. All have literal values."""

_DIGEST_LENGTH: Final = 10
POOL_NAME_END: Final = f"-[0-9a-f]{{{_DIGEST_LENGTH}}}$"
"""Expression for the end of the name of a pool, which is that of its account."""
_POOL_NAME: Final = re.compile(POOL_NAME_END)
_LONGEST_ENGRAM: Final = MAX_POOL_NAME - _DIGEST_LENGTH - 1


@dataclass(frozen=True, slots=True)
class WorkersWanted:
    """One pool, as a step needs it."""

    namespace: str
    name: str
    engram: str
    """``namespace/name``."""
    warm: WarmPolicy
    workload: StepWorkload
    """Any step of the pool."""
    annotations: Mapping[str, str]
    """Those of the account."""

    def account(self) -> Object:
        return worker_account(self.namespace, self.name, self.annotations)

    def deployment(self, account_uid: str, policy: ExecutionPolicy) -> Object:
        """The Deployment, with the workers that one step needs.

        Args:
            policy: that of the steps, with the Secret of the store that the Pods may read.
        Raises:
            EnvironmentTooLargeError: a payload does not fit into one environment variable.
        """
        workload = replace(self.workload, policy=policy)
        labels = {**pool_labels(self.name), keys.LABEL_ENGRAM: label_value(self.workload.engram_name)}
        deployment = owned_by_account(DEPLOYMENT, self.namespace, self.name, self.name, account_uid)
        deployment["metadata"] |= {
            "labels": labels,
            "annotations": {
                keys.ANNOTATION_POOL_ENGRAM: self.engram,
                keys.ANNOTATION_POOL_WORKERS: _encoded(self.warm),
            },
        }
        pod_labels = {**labels, **identity_labels(policy.storage)}
        return {
            **deployment,
            "spec": {
                "replicas": self.warm.replicas_for(1),
                "revisionHistoryLimit": 0,
                "selector": {"matchLabels": {keys.LABEL_WORKER_POOL: self.name}},
                "template": {
                    "metadata": {"labels": pod_labels},
                    "spec": _pod(workload, self.name, self.warm),
                },
            },
        }


@dataclass(frozen=True, slots=True)
class StandingPool:
    """What a Deployment says of its pool."""

    namespace: str
    name: str
    engram: tuple[str, str]
    """Namespace and name."""
    warm: WarmPolicy
    account_uid: str
    replicas: int


def workers_wanted(
    workload: StepWorkload, warm: WarmPolicy, engram_namespace: str, annotations: Mapping[str, str]
) -> WorkersWanted:
    """The pool that serves the step.

    Args:
        annotations: of its account, as the step's Story requests them.
    Raises:
        EnvironmentTooLargeError: a payload does not fit into one environment variable.
    """
    engram = f"{engram_namespace}/{workload.engram_name}"
    content = [
        engram,
        _encoded(warm),
        dict(annotations),
        _pod(workload, "", warm),
        identity_labels(workload.policy.storage),
    ]
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:_DIGEST_LENGTH]
    name = f"{compose(workload.engram_name)[:_LONGEST_ENGRAM].strip('-')}-{digest}"
    return WorkersWanted(workload.namespace, name, engram, warm, workload, annotations)


def environment_of(workload: StepWorkload) -> dict[str, str]:
    """The variables of one step that its pool does not have, as the program sees them.

    The context of templates is left out if nothing evaluates the inputs again.

    Raises:
        EnvironmentTooLargeError: a payload does not fit into one environment variable.
    """
    left_out = {TEMPLATE_CONTEXT} if workload.skip_input_templating else set()
    return {
        variable["name"]: variable["value"].replace("$$", "$")
        for variable in batch_environment(workload)
        if variable["name"] in OF_STEP - left_out
    }


def may_be_worker(pod: str, account: str) -> bool:
    """Whether a Pod of that name, under that account, can be one of a pool, as far as the names tell.

    >>> may_be_worker("fetcher-0123456789-7d9b8c6f5-x7k2p", "fetcher-0123456789")
    True
    """
    return pod.startswith(f"{account}-") and _POOL_NAME.search(account) is not None


def standing_pool(deployment: ReadOnlyObject) -> StandingPool | None:
    """The pool of a Deployment; None: it is not one of this module, or somebody has changed its annotations."""
    metadata, spec = deployment["metadata"], deployment.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    namespace, _, engram = str(annotations.get(keys.ANNOTATION_POOL_ENGRAM) or "").partition("/")
    owner: Object = next(
        (each for each in metadata.get("ownerReferences") or () if each.get("kind") == SERVICE_ACCOUNT.kind), {}
    )
    warm = _decoded(str(annotations.get(keys.ANNOTATION_POOL_WORKERS) or ""))
    if not (namespace and engram and warm and owner.get("name") == metadata["name"]):
        return None
    replicas = spec.get("replicas")
    return StandingPool(
        metadata["namespace"],
        metadata["name"],
        (namespace, engram),
        warm,
        str(owner.get("uid") or ""),
        1 if replicas is None else replicas,
    )


def _pod(workload: StepWorkload, account: str, warm: WarmPolicy) -> Object:
    policy = workload.policy
    spec: Object = {
        "serviceAccountName": account,
        "automountServiceAccountToken": True,
        "securityContext": pod_security(policy),
        "containers": [_container(workload, account, warm)],
    }
    if (grace := workload.settings.termination_grace_period_seconds) > 0:
        spec["terminationGracePeriodSeconds"] = grace
    spec |= placement(policy)
    volumes = [
        *secret_volumes(workload),
        *tls_volumes(workload),
        *storage_volumes(policy.storage),
        *policy_volumes(policy),
    ]
    return spec | ({"volumes": volumes} if volumes else {})


def _container(workload: StepWorkload, pool: str, warm: WarmPolicy) -> Object:
    policy = workload.policy
    common = [variable for variable in batch_environment(workload) if variable["name"] not in OF_STEP]
    container = {**container_basics(ENGRAM_CONTAINER, policy), "env": [*common, *_of_worker(pool, policy, warm)]}
    if env_from := secret_env_from(workload):
        container["envFrom"] = env_from
    mounts = [
        *secret_volume_mounts(workload),
        *tls_volume_mounts(workload),
        *storage_volume_mounts(policy.storage),
        *policy_volume_mounts(policy),
    ]
    return container | ({"volumeMounts": mounts} if mounts else {})


def _of_worker(pool: str, policy: ExecutionPolicy, warm: WarmPolicy) -> list[EnvVar]:
    """What makes the SDK serve steps, one after the other, instead of one."""
    found = [
        literal("BUBU_WORKER_POOL", pool),
        literal("BUBU_WORKER_CONCURRENCY", str(warm.concurrency)),
        literal("BUBU_WORKER_ISOLATION", warm.isolation),
        {"name": "BUBU_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
    ]
    if limit := policy.resources.get("memoryLimit"):
        share = int(parse_quantity(limit).amount) // warm.concurrency
        found.append(literal("BUBU_WORKER_MEMORY_BYTES", str(share)))
    return found


def _encoded(warm: WarmPolicy) -> str:
    wire = {
        "replicas": warm.replicas,
        "maxReplicas": warm.max_replicas,
        "concurrencyPerWorker": warm.concurrency,
        "isolation": warm.isolation,
        "idleTimeout": format_duration(warm.idle_timeout),
    }
    return orjson.dumps(wire).decode()


@lru_cache(maxsize=64)
def _decoded(text: str) -> WarmPolicy | None:
    """Read for each step that gets a place in a worker."""
    try:
        wire = orjson.loads(text)
        timeout: timedelta = parse_duration(wire["idleTimeout"])
        least, most, steps = (int(wire[name]) for name in ("replicas", "maxReplicas", "concurrencyPerWorker"))
        isolation = str(wire["isolation"])
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    return WarmPolicy(least, most, steps, isolation, timeout) if min(least, most, steps) > 0 else None
