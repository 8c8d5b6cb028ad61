"""The names of the Pods of realtime steps, by which policies and admission recognise them. Pure.

A StatefulSet has the Pod ``<workload>-0``, a Deployment the Pods ``<workload>-<hash>-<suffix>``; of the latter, the API
server cuts what is before the suffix, so that both fit into a DNS label.
"""

from __future__ import annotations

import re
from typing import Final

from bubu_contract.identity import MAX_NAME_LENGTH, POD_SUFFIX_LENGTH
from core.workloads.stream_workload import StreamMode, workload_name

WHOLE_HASH: Final = "[4-9bcdf]{4,10}-"
"""Regular expression of the hash of a Pod template, with the dash behind it: a number of 32 bits, of whose digits each
is written as one of these ten characters.

One in four million is shorter, and its Pod is not recognised by its name. If shorter ones were, the Pod of a Job of
step ``ask-b`` could pass for one of step ``ask``.
"""
CUT_HASH: Final = "([4-9bcdf]{1,10}-?)?"
"""The same in a name of full length, in which nothing, or a part of it, may be left."""


def is_stream_pod_name(pod: str, step_run: str) -> bool:
    """Whether a workload of the StepRun can have a Pod of that name.

    >>> is_stream_pod_name("run-1-ask-0", "run-1-ask")
    True
    >>> is_stream_pod_name("run-1-ask-7d9b8c6f5-x7k2p", "run-1-ask")
    True
    >>> is_stream_pod_name("run-1-ask-x7k2p", "run-1-ask")
    False
    """
    if pod == f"{workload_name(step_run, StreamMode.STATEFUL_SET)}-0":
        return True
    head = f"{step_run}-"[: MAX_NAME_LENGTH - POD_SUFFIX_LENGTH]
    if len(pod) < len(head) + POD_SUFFIX_LENGTH or not pod.startswith(head):
        return False
    between = pod[len(head) : -POD_SUFFIX_LENGTH]
    return re.fullmatch(CUT_HASH if len(pod) == MAX_NAME_LENGTH else WHOLE_HASH, between) is not None


def is_replica_set_name(name: str, step_run: str) -> bool:
    """Whether the Deployment of the StepRun can have a ReplicaSet of that name.

    >>> is_replica_set_name("run-1-ask-7d9b8c6f5", "run-1-ask")
    True
    """
    head = f"{step_run}-"
    return name.startswith(head) and re.fullmatch("[4-9bcdf]{1,10}", name[len(head) :]) is not None
