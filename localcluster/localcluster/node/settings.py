"""Settings of a node. Frozen; durations in seconds, sizes in bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

HOST_IP = "127.0.0.1"
PROCESSOR_USE = "ProcessorUse"
"""The reason of the Event that says how much of the processor a container had used that was ended with its Pod."""
"""The address of host and Pods: containers share the machine's network."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """The settings of one node."""

    name: str
    data_dir: Path
    """Private directory of this node: volumes, logs, claims. It survives a restart."""
    image_map: Path
    api_url: str
    """Containers see it as ``KUBERNETES_SERVICE_HOST`` and ``…_PORT``."""
    take_unscheduled: bool = True
    """Bind Pods that no scheduler has placed. Set it to False where a scheduler runs."""
    max_containers: int = 256
    """Containers that run at once; further Pods wait as Pending."""
    pod_addresses: bool = False
    """Each Pod has an address of its own (``localcluster.node.addresses``), for Pods that listen on the same port."""
    isolate: bool = True
    """Use mount and process namespaces where the system allows them."""
    heartbeat_seconds: float = 10.0
    restart_delay_seconds: float = 10.0
    """First pause before a crashed container is started again; doubles up to ``restart_delay_limit_seconds``."""
    restart_delay_limit_seconds: float = 300.0
    retry_delay_seconds: float = 1.0
    """First pause after a missing image, Secret or volume; doubles up to ``retry_delay_limit_seconds``."""
    retry_delay_limit_seconds: float = 30.0
    starting_report_delay_seconds: float = 1.0
    """How long the report "being started" may wait for the start."""
    running_report_delay_seconds: float = 0.1
    """How long the report "running" may wait for the end of the container, so that both are one write."""
    shutdown_grace_seconds: float = 1.0
    """The time between SIGTERM and SIGKILL for containers when the node itself stops."""
    niceness: int = 10
    """How much lower the priority of a node process is than that of API server and operator."""
    container_niceness: int = 5
    """How much lower the priority of its containers is than that of the node."""
    capacity: dict[str, str] = field(
        default_factory=lambda: {"cpu": str(os.cpu_count() or 1), "memory": _memory(), "pods": "1000"}
    )


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 1024}Ki"
    except (OSError, ValueError):
        return "1Gi"
