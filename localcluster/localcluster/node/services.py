"""Dependencies that all Pods of a node share. Created once in ``node``, passed down, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localcluster.clock import Now
from localcluster.node.capacity import ContainerSlots
from localcluster.node.client import ApiClient
from localcluster.node.images import ImageMap
from localcluster.node.logbook import LogBook
from localcluster.node.podfields import HostFacts
from localcluster.node.ports import Ports
from localcluster.node.processes import Launcher
from localcluster.node.settings import NodeSettings
from localcluster.node.sources import SourceReader


@dataclass(frozen=True, slots=True)
class NodeServices:
    settings: NodeSettings
    client: ApiClient
    sources: SourceReader
    launcher: Launcher
    images: ImageMap
    logbook: LogBook
    slots: ContainerSlots
    ports: Ports
    host: HostFacts
    base_variables: Mapping[str, str]
    """The environment with which every container starts: variables of the machine and of the API server."""
    now: Now

    @property
    def pods_directory(self) -> Path:
        return self.settings.data_dir / "pods"

    @property
    def claims_directory(self) -> Path:
        return self.settings.data_dir / "claims"
