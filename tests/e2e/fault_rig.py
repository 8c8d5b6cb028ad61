"""Managers as processes on a real control plane, a proxy in between, and an oracle that knows the correct outcome."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from core.api.objects import Object
from core.api.phases import Phase
from core.api.resource import (
    JOB,
    POD,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    Resource,
)
from deployment.permissions.install import request_token
from deployment.permissions.roles import operator_objects
from localcluster.kubeconfig import write_private
from tests.e2e.comparison import Outcome, counts_by_object, masked
from tests.e2e.fault_workload import GONE, INEXACT, RUNS, Workload
from tests.e2e.operator_rig import with_token_file
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OPERATOR,
    OperatorCluster,
    eventually,
    open_on_real,
    status_of,
)
from tests.integration.operator_rights import ensure_rights
from tools.control_plane.access import Access, load_access
from tools.control_plane.forked import open_manager
from tools.control_plane.history import History, open_history
from tools.control_plane.processes import ServerProcess
from tools.control_plane.proxy import Proxy, open_proxy
from tools.control_plane.session import Ready, SessionCluster

SETTLE_SECONDS: Final = 60.0
"""How long after its fault a cluster may take to be as if there had been none."""
COLLECT_SECONDS: Final = 150.0
"""How long the garbage collector may take.

After a server was away, it learns kinds anew, at most every half minute. It gives up and begins again when it cannot
list one of them.
"""
_JOB_TRACKING: Final = "batch.kubernetes.io/job-tracking"
_STAYS_SECONDS: Final = 1.0
_QUIET_SECONDS: Final = 2.5
"""Counters of Stories and Engrams are written every two seconds at most."""
_COUNTED: Final = {
    "runs.bubustack.io/storyruns": STORY_RUN,
    "runs.bubustack.io/stepruns": STEP_RUN,
    "jobs": JOB,
    "pods": POD,
    "serviceaccounts": SERVICE_ACCOUNT,
    "roles": ROLE,
    "rolebindings": ROLE_BINDING,
}
"""Kinds, by the beginning of their keys."""
_SHOWN: Final = (STORY_RUN, STEP_RUN, JOB, SERVICE_ACCOUNT, ROLE, ROLE_BINDING, STORY)
"""Without Engrams: they do not count steps whose end is recorded seconds late."""
_GIVEN: Final = f"serviceaccounts/{NAMESPACE_NAME}/default"


@dataclass
class FaultRig:
    """Managers reach the API server through ``proxy``. Users, controllers and the node reach it directly."""

    cluster: OperatorCluster
    ready: Ready
    access: Access
    proxy: Proxy
    history: History
    workload: Workload
    directory: Path
    _stack: AsyncExitStack

    async def start_manager(
        self, name: str = "manager", *, url: str = "", elect: bool = False, token_file: Path | None = None
    ) -> ServerProcess:
        """A manager under its own ServiceAccount, through the proxy or ``url``. It ends with the rig."""
        token = await request_token(self.cluster.client, OPERATOR)
        kubeconfig = self.access.write_kubeconfig(f"{self.directory.name}-{name}", url or self.proxy.url, token)
        if token_file is not None:
            write_private(kubeconfig, with_token_file(kubeconfig.read_text(), token_file))
        flags = [
            f"--kubeconfig={kubeconfig}",
            "--health-probe-bind-address=0",
            "--webhook-bind-address=0",
            f"--leader-elect={str(elect).lower()}",
        ]
        return await self._stack.enter_async_context(open_manager(name, flags, self.directory))

    # The oracle.

    async def outcome(self) -> Outcome:
        """The outcome at this moment."""
        objects: dict[str, Object] = {}
        for resource in _SHOWN:
            for obj in (await self.cluster.client.list(resource, NAMESPACE_NAME)).items:
                name = obj["metadata"]["name"]
                if (resource, name) != (SERVICE_ACCOUNT, "default") and name not in INEXACT:
                    objects[f"{resource.plural}/{name}"] = masked(obj)
        of = [f"{prefix}/{NAMESPACE_NAME}/" for prefix in _COUNTED]
        created, deleted = (
            counts_by_object({key: count for key, count in counts.items() if key != _GIVEN}, of)
            for counts in (self.history.creations(), self.history.deletions())
        )
        return Outcome(objects, created, deleted, dict(self.workload.executions()))

    async def settled(self, *, seconds: float = SETTLE_SECONDS) -> None:
        """Return once every run of the workload has ended, and the removed runs are gone with all that they owned."""
        await self.ended(seconds=seconds)
        await self.ends_without_orphans()

    async def ended(self, *, seconds: float = SETTLE_SECONDS) -> None:
        """Return once every run of the workload has ended, and the removed runs are gone."""

        async def all_ended() -> bool:
            runs = {run["metadata"]["name"]: run for run in await self.listed(STORY_RUN)}
            return runs.keys() == set(RUNS) - set(GONE) and all(
                status_of(run).get("finishedAt") for run in runs.values()
            )

        try:
            await eventually(all_ended, seconds=seconds)
        except trio.TooSlowError:
            raise AssertionError(f"after {seconds:g} s: {await self._unfinished()}") from None

    async def _unfinished(self) -> str:
        """What is stored of the runs that should have ended, or be gone."""
        left = [run for run in await self.listed(STORY_RUN) if not status_of(run).get("finishedAt")]
        left += [run for run in await self.listed(STORY_RUN) if run["metadata"]["name"] in GONE]
        return json.dumps([{"name": run["metadata"]["name"], "status": status_of(run)} for run in left], indent=1)

    async def collector_knows_our_kinds(self) -> None:
        """Return once the garbage collector follows owners among our kinds. A new control plane learns them late."""
        owner = await self.cluster.run("probe", "nobody")
        reference = {key: owner[key] for key in ("apiVersion", "kind")} | {"name": "probe", "controller": True}
        reference["uid"] = owner["metadata"]["uid"]
        spec = {"storyRunRef": {"name": "probe"}, "stepId": "a", "engramRef": {"name": "nobody"}}
        await self.cluster.create(STEP_RUN, "probe-a", spec, ownerReferences=[reference])
        await self.cluster.client.delete(STORY_RUN, "probe", NAMESPACE_NAME)

        async def collected() -> bool:
            return "probe-a" not in await self.cluster.names(STEP_RUN)

        await eventually(collected, seconds=COLLECT_SECONDS)

    async def ends_without_orphans(self, *, seconds: float = COLLECT_SECONDS) -> None:
        """Return once every owner of an object exists."""

        async def all_owned() -> bool:
            objects = [obj for resource in _COUNTED.values() for obj in await self.listed(resource)]
            objects = [obj for obj in objects if not is_left_to_the_job_controller(obj)]
            uids = {obj["metadata"]["uid"] for obj in objects}
            owners = {owner["uid"] for obj in objects for owner in obj["metadata"].get("ownerReferences") or ()}
            return owners <= uids

        await eventually(all_owned, seconds=seconds)

    async def listed(self, resource: Resource) -> list[Object]:
        return (await self.cluster.client.list(resource, NAMESPACE_NAME)).items

    async def has_seen(self, name: str) -> bool:
        """Whether such a request passed the proxy."""
        await trio.lowlevel.checkpoint()
        return any(seen.request.name == name for seen in self.proxy.seen)

    async def ends_like(self, expected: Outcome, *, seconds: float = SETTLE_SECONDS) -> None:
        """Return once everything is as ``expected`` and stays so, and no terminal phase was ever left.

        Raises:
            AssertionError: it is not, with every difference.
        """
        differences = ["nothing was compared"]

        async def alike() -> bool:
            nonlocal differences
            differences = (await self.outcome()).differences_from(expected)
            return not differences

        try:
            await eventually(alike, seconds=seconds)
            await trio.sleep(_STAYS_SECONDS)
            await alike()
        except trio.TooSlowError:
            pass
        assert not differences, "\n".join(differences)
        assert_ends_were_final(self.history)


def is_left_to_the_job_controller(obj: Object) -> bool:
    """Whether it is a deleted Pod that waits only for the finalizer of the Job controller.

    A Job controller that lost its API server between the deletions of a Pod and its Job takes minutes to remove it.
    """
    metadata = obj["metadata"]
    return bool(metadata.get("deletionTimestamp")) and metadata.get("finalizers") == [_JOB_TRACKING]


def assert_ends_were_final(history: History) -> None:
    """Terminal phases are final, and retries never decrease, in the whole history of every run and step."""
    for prefix in ("runs.bubustack.io/storyruns/", "runs.bubustack.io/stepruns/"):
        last: dict[str, Object] = {}
        for write in history.of(prefix):
            uid = (write.content or {}).get("metadata", {}).get("uid", "")
            before, now = last.get(uid, {}), status_of(write.content or {})
            phase = before.get("phase", "")
            if write.content is not None:
                assert not (phase in set(Phase) and Phase(phase).terminal) or now.get("phase") == phase, write
                assert now.get("retries", 0) >= before.get("retries", 0), write
                last[uid] = now


@asynccontextmanager
async def open_fault_rig(directory: Path, real: SessionCluster) -> AsyncIterator[FaultRig]:
    """The workload's Engrams and Stories on an emptied cluster. No manager runs yet."""
    assert real.ready is not None
    access = load_access(Path(real.kubeconfig).parent)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(open_on_real(directory, real))
        await ensure_rights(cluster.client, operator_objects(OPERATOR))
        workload = Workload(cluster, directory)
        await workload.install()
        proxy = await stack.enter_async_context(open_proxy(access, real.ready.url))
        history = await stack.enter_async_context(open_history(real.ready.etcd_url))
        managers = await stack.enter_async_context(AsyncExitStack())
        yield FaultRig(cluster, real.ready, access, proxy, history, workload, directory, managers)


async def play_without_faults(real: SessionCluster, directory: Path) -> Outcome:
    """The outcome of the whole work with one undisturbed manager, once nothing changes any more."""
    async with open_fault_rig(directory, real) as rig:
        await rig.start_manager()
        await rig.workload.play()
        await rig.settled()
        with trio.fail_after(SETTLE_SECONDS):
            written = -1
            while written < len(rig.history.writes):
                written = len(rig.history.writes)
                await trio.sleep(_QUIET_SECONDS)
        return await rig.outcome()
