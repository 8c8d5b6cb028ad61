"""Forgets old changes, as etcd is compacted on a real cluster; so a local cluster that runs for weeks stays small.

The limits of a collection (watchcache.py) hold for its busiest minutes; without this, a rarely changed kind would need
weeks to reach them, and would keep every change until then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import trio

from localcluster.server.store import Store
from localcluster.server.watchcache import Collection

INTERVAL_SECONDS: Final = 60.0
KEPT_INTERVALS: Final = 10
"""A change is remembered for 10 to 11 minutes; kube-apiserver has etcd forget them after 5 to 10."""


async def forget_old_changes(store: Store, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Run until cancelled."""
    task_status.started()
    ends: deque[Mapping[Collection, int]] = deque()
    while True:
        ends.append({collection: collection.end_position for collection in store.collections()})
        if len(ends) > KEPT_INTERVALS:
            for collection, position in ends.popleft().items():
                collection.forget_before(position)
        await trio.sleep(INTERVAL_SECONDS)
