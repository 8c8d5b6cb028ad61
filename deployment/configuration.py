"""The operator's ConfigMap in an installation. Source: operator contract 3, *Shipped*.

Values are those of the reference, so that nothing changes for a user who moves, with four exceptions: there is no
storage, because that of the reference is a demonstration server; Jobs do not retry by themselves, because steps do;
tenants have bounds; keys without an effect are left out. Processes for costly evaluations get the rest of the Pod's
memory limit: beyond the limit, the kernel may end all processes of the container. Other keys can be set, too; the
contract names them.
"""

from __future__ import annotations

from typing import Final

from core.api.objects import Object
from core.api.resource import CONFIG_MAP
from deployment import metadata
from deployment.permissions.roles import DEFAULT_INSTALLATION, Installation
from deployment.permissions.table import CONFIG_NAME

SHIPPED: Final = {
    "controller.max-concurrent-reconciles": "10",
    "controller.requeue-base-delay": "2s",
    "controller.requeue-max-delay": "1m",
    "controller.reconcile-timeout": "1m",
    "controller.max-story-with-block-size-bytes": "65536",
    "images.pull-policy": "IfNotPresent",
    "resources.default.cpu-request": "100m",
    "resources.default.cpu-limit": "500m",
    "resources.default.memory-request": "128Mi",
    "resources.default.memory-limit": "512Mi",
    "resources.engram.cpu-request": "100m",
    "resources.engram.cpu-limit": "1",
    "resources.engram.memory-request": "128Mi",
    "resources.engram.memory-limit": "512Mi",
    "retry.max-retries": "3",
    "timeout.default-step": "5m",
    "timeout.approval-default": "24h",
    "timeout.external-data-default": "30m",
    "security.run-as-non-root": "true",
    "security.read-only-root-filesystem": "true",
    "security.allow-privilege-escalation": "false",
    "security.drop-capabilities": "ALL",
    "security.run-as-user": "1000",
    "security.lowered-by": "templates",
    "security.tolerations": "keyed",
    "security.priority-classes": "",
    "security.runtime-classes": "",
    "job.backoff-limit": "0",
    "job.ttl-seconds-after-finished": "3600",
    "job.restart-policy": "Never",
    "storyrun.retention-seconds": "86400",
    "storyrun.max-inline-inputs-size": "1024",
    "storyrun.global-concurrency": "0",
    "storyrun.queue.default.concurrency": "0",
    "storyrun.queue.default.default-priority": "0",
    "storyrun.queue.default.max-priority": "100",
    "storytrigger.retention-seconds": "86400",
    "storytrigger.pending-timeout": "24h",
    "templating.evaluation-timeout": "30s",
    "templating.max-output-bytes": "65536",
    "templating.deterministic": "false",
    "templating.offloaded-data-policy": "inject",
    "templating.workers": "2",
    "templating.worker-memory-bytes": "268435456",
    "references.cross-namespace-policy": "deny",
    "telemetry.enabled": "false",
    "telemetry.trace-propagation": "false",
    "debug.enable-verbose-logging": "false",
    "debug.enable-step-output-logging": "false",
    "debug.enable-metrics": "true",
    "engram.default-max-inline-size": "4096",
    "engram.default-max-recursion-depth": "32",
    "engram.default-hang-timeout-seconds": "30",
}


def config_map(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    name = installation.named(CONFIG_NAME)
    return {**metadata.document(CONFIG_MAP, name, namespace=installation.namespace), "data": dict(SHIPPED)}
