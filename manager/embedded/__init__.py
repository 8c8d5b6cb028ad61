"""The embedded cluster as the command line sees it: where its data lives, whether it runs, how to start and stop it.

One folder is one cluster. ``folder`` says what stands in it, ``filelock`` who has it, ``process`` starts and stops what
serves it, ``usage`` shares a cluster that was started for the occasion between the commands that use it.
"""

from manager.embedded.folder import (
    EmbeddedCluster,
    EmbeddedError,
    data_folder,
    is_served,
    publish,
    refuse_if_served,
    running,
)
from manager.embedded.process import STOP_DEADLINE_SECONDS, serving, start, stop, wait_until_ready
from manager.embedded.usage import in_use, open_cluster, wait_until_unused

__all__ = [
    "STOP_DEADLINE_SECONDS",
    "EmbeddedCluster",
    "EmbeddedError",
    "data_folder",
    "in_use",
    "is_served",
    "open_cluster",
    "publish",
    "refuse_if_served",
    "running",
    "serving",
    "start",
    "stop",
    "wait_until_ready",
    "wait_until_unused",
]
