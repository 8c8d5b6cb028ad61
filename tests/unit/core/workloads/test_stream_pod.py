"""Names of Pods of realtime steps: those of Deployments and StatefulSets, and no others."""

from __future__ import annotations

import pytest

from core.workloads.stream_pod import is_replica_set_name, is_stream_pod_name
from core.workloads.stream_workload import StreamMode, workload_name
from localcluster.controllers.rollout import template_hash

LONG = "a" * 58


@pytest.mark.parametrize(
    "pod",
    [
        "r-a-0",
        "r-a-7d9b8c6f5-x7k2p",
        "r-a-4444-x7k2p",
        f"r-a-{template_hash({'spec': {}})}-x7k2p",
    ],
)
def test_the_pods_of_the_workload_are_recognised(pod: str) -> None:
    assert is_stream_pod_name(pod, "r-a")


@pytest.mark.parametrize(
    "pod",
    [
        "r-a-x7k2p",
        "r-a-b-x7k2p",
        "r-a-http-x7k2p",
        "r-a-1",
        "r-a-00",
        "r-b-0",
        "r-a-b-0",
        "r-a",
        "",
        "r-a-7d9b8c6f5-",
        "r-a-7d9b8c6f5-x7k2",
        "r-a--x7k2p",
        "r-a-7d9b8c6f5-7d9b8c6f5-x7k2p",
        "r-a-7d9b8c6f5-x7k2p\n",
    ],
)
def test_no_other_pod_is(pod: str) -> None:
    assert not is_stream_pod_name(pod, "r-a")


@pytest.mark.parametrize("length", range(40, 64))
def test_names_are_recognised_as_the_api_server_cuts_them(length: int) -> None:
    step_run = "s" * length
    for hashed in ("7d9b8c6f5", "7d9b8c6f55"):
        assert is_stream_pod_name(f"{step_run}-{hashed}-"[:58] + "x7k2p", step_run)
    assert is_stream_pod_name(f"{workload_name(step_run, StreamMode.STATEFUL_SET)}-0", step_run)
    assert not is_stream_pod_name(f"t{step_run[1:]}-7d9b8c6f5-"[:58] + "x7k2p", step_run)


def test_a_replica_set_has_one_hash_behind_the_name() -> None:
    assert is_replica_set_name(f"{LONG}-7d9b8c6f5", LONG)
    assert is_replica_set_name("r-a-4", "r-a")
    assert not is_replica_set_name("r-a", "r-a")
    assert not is_replica_set_name("r-a-b-7d9b8c6f5", "r-a")
    assert not is_replica_set_name("r-a-7d9b8c6f5x", "r-a")
