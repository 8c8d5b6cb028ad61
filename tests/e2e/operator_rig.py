"""The operator as it is deployed: our manifests on a real API server, a separate process, its own ServiceAccount."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import trio

from core.api.objects import Object
from core.api.resource import (
    CUSTOM_RESOURCE_DEFINITION,
    ENGRAM,
    ENGRAM_TEMPLATE,
    NAMESPACE,
    SERVICE_ACCOUNT,
    STORY,
    STORY_RUN,
    Resource,
)
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from core.kube.errors import NotFoundError
from core.workloads.story_runner import SELECTOR, story_of_runner
from deployment.permissions.roles import DEFAULT_INSTALLATION
from localcluster.kubeconfig import Connection, render_kubeconfig, write_private
from tests.integration.operator_cluster import pause_after
from tools.control_plane.binaries import DEFAULT_VERSION, ensure_binaries
from tools.control_plane.node import open_node
from tools.control_plane.processes import ServerProcess, open_process
from tools.control_plane.running import ControlPlane, open_control_plane

ROOT: Final = Path(__file__).parents[2]
FLOWS: Final = "flows"
"""The namespace of the Stories."""
DEADLINE_SECONDS: Final = 120.0
_CALL: Final = "failed to call webhook: "
_LATE_ANSWERS: Final = ("the server was unable to return a response in the time allotted", "context deadline exceeded")
"""The first if admission says so itself after four seconds, the second if it has not even done that after five."""
_STRICT: Final = ("--enable-admission-plugins=OwnerReferencesPermissionEnforcement",)
"""As on OpenShift: a user who creates an object that blocks its owner needs the right to set the owner's finalizers."""


@dataclass
class OperatorRig:
    """``client`` is an administrator."""

    plane: ControlPlane
    client: KubeClient
    directory: Path
    _stack: AsyncExitStack
    images: Object = field(default_factory=dict)

    # The operator.

    async def start_operator(
        self, name: str, *flags: str, variables: Mapping[str, str] | None = None, release: Path = ROOT
    ) -> ServerProcess:
        """A manager process under its own ServiceAccount, with more environment ``variables``. It ends with the rig.

        Args:
            release: the checkout whose code it runs.
        """
        variables = {"PYTHONPATH": f"{release}:{release / 'sdk'}"} | dict(variables or {})
        command = [
            *(sys.executable, "-P", "-m", "cli", "manager"),
            f"--kubeconfig={self.kubeconfig}",
            "--health-probe-bind-address=0",
            "--webhook-bind-address=0",
            *flags,
        ]
        words = [f"{key}={value}" for key, value in variables.items()]
        command = ["/usr/bin/env", *words, *command]
        return await self._stack.enter_async_context(open_process(name, command, self.directory))

    @property
    def kubeconfig(self) -> Path:
        """The operator's kubeconfig. Its token is in a separate file, as in a Pod."""
        return self.directory / "operator.kubeconfig"

    async def write_kubeconfig(self) -> None:
        """Write it, and the token; the account exists."""
        await self.renew_token()
        connection = Connection(self.plane.url, token="", ca_pem=self.plane.ca_pem)
        write_private(self.kubeconfig, with_token_file(render_kubeconfig(connection), self.directory / "token"))

    async def renew_token(self) -> None:
        """Renew the token, as the kubelet does for a Pod."""
        account = DEFAULT_INSTALLATION
        write_private(self.directory / "token", await self.plane.token_of(account.service_account, account.namespace))

    async def operator_client(self, stack: AsyncExitStack) -> KubeClient:
        """A client with the operator's rights, to test what it may do."""
        return await stack.enter_async_context(open_client(await load_config(self.kubeconfig)))

    def audit_events(self) -> list[Object]:
        assert self.plane.audit_log is not None
        return [orjson.loads(line) for line in self.plane.audit_log.read_bytes().splitlines()]

    # Objects.

    async def apply(self, *paths: str, namespace: str = "") -> None:
        """Apply files with kubectl, as users do; again where the gate was late, as with ``create``."""
        command = [str(self.plane.binaries.kubectl), f"--kubeconfig={self.plane.kubeconfig}"]
        where = [f"--namespace={namespace}"] if namespace else []
        files = [f"--filename={ROOT / path}" for path in paths]
        for last in (False, False, False, True):
            words = [*command, *where, "apply", "--server-side", *files]
            done = await trio.run_process(words, capture_stdout=True, capture_stderr=True, check=False)
            if done.returncode == 0:
                return
            said = done.stderr.decode()
            assert is_late(said), said
            assert not last, said

    async def install(self, release: Path = ROOT) -> None:
        """Apply definitions and RBAC of a checkout, and wait until the definitions are served."""
        await self.apply(f"{release}/manifests/crds", f"{release}/manifests/rbac")
        await self.established()

    async def established(self) -> None:
        """Wait until every definition is served."""
        for definition in (await self.client.list(CUSTOM_RESOURCE_DEFINITION)).items:
            await self.until(CUSTOM_RESOURCE_DEFINITION, definition["metadata"]["name"], _is_established)

    async def create(
        self, resource: Resource, name: str, content: Object, namespace: str = FLOWS, **meta: Any
    ) -> Object:
        metadata = {"name": name, **({"namespace": namespace} if resource.namespaced else {}), **meta}
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        manifest = {**kind, "metadata": metadata, **content}
        return await self.client.create(resource, manifest)

    async def engram(self, name: str, script: str = "exit 0", *, engram: Object | None = None, **template: Any) -> None:
        """An Engram and its template, whose image is ``script``."""
        image = f"test/{name}"
        self.add_images({image: {"command": ["/bin/sh", "-c", script]}})
        spec = {"version": "1", "image": image, "supportedModes": ["job"], **template}
        await self.create(ENGRAM_TEMPLATE, name, {"spec": spec})
        await self.create(ENGRAM, name, {"spec": {"templateRef": {"name": name}, **(engram or {})}})

    def add_images(self, images: Object) -> None:
        self.images |= images
        (self.directory / "images.yaml").write_bytes(orjson.dumps({"images": self.images}))

    async def story(self, name: str, *steps: Object, **spec: Any) -> Object:
        return await self.create(STORY, name, {"spec": {"steps": list(steps), **spec}})

    async def run(self, name: str, story: str, **spec: Any) -> Object:
        return await self.create(STORY_RUN, name, {"spec": {"storyRef": {"name": story}, **spec}})

    async def merge(self, resource: Resource, name: str, patch: Object, namespace: str = FLOWS) -> Object:
        return await self.client.patch(resource, name, patch, namespace=namespace if resource.namespaced else None)

    async def account_of(self, story: str) -> str:
        """The account of the containers of the Story's runs."""
        found = (await self.client.list(SERVICE_ACCOUNT, FLOWS, label_selector=SELECTOR)).items
        [name] = [str(each["metadata"]["name"]) for each in found if story_of_runner(each) == f"{FLOWS}/{story}"]
        return name

    # Waiting.

    async def until(
        self,
        resource: Resource,
        name: str,
        holds: Callable[[Object], bool],
        *,
        namespace: str = FLOWS,
        seconds: float = DEADLINE_SECONDS,
    ) -> Object:
        """Wait until the object exists and ``holds`` accepts it; returns it."""
        last: Object = {}

        async def reached() -> bool:
            nonlocal last
            try:
                last = await self.client.get(resource, name, namespace if resource.namespaced else None)
            except NotFoundError:
                return False
            return holds(last)

        await eventually(reached, lambda: f"{resource.kind} {name} did not get there: {last}", seconds=seconds)
        return last

    async def ended(self, name: str, phase: str, *, seconds: float = DEADLINE_SECONDS) -> Object:
        """Wait until the run has ended with the expected phase; returns it."""
        run = await self.until(STORY_RUN, name, lambda obj: bool(status_of(obj).get("finishedAt")), seconds=seconds)
        assert status_of(run)["phase"] == phase, run["status"]
        return run

    async def gone(self, resource: Resource, name: str) -> None:
        async def absent() -> bool:
            try:
                await self.client.get(resource, name, FLOWS)
            except NotFoundError:
                return True
            return False

        await eventually(absent, lambda: f"{resource.kind} {name} is still there")


def is_late(error: str) -> bool:
    """Whether the API server waited for admission in vain. Nothing was written then, and users try again.

    On two processors with a dozen starting processes, five seconds may be too short.
    """
    return _CALL in error and any(answer in error for answer in _LATE_ANSWERS)


async def eventually(
    holds: Callable[[], Awaitable[bool]], why_not: Callable[[], str], *, seconds: float = DEADLINE_SECONDS
) -> None:
    """Return once ``holds`` is true. It polls, because other processes wake nobody here."""
    began_at = trio.current_time()
    with trio.move_on_after(seconds):
        while not await holds():  # noqa: ASYNC110 - see above
            await trio.sleep(pause_after(trio.current_time() - began_at))
        return
    raise AssertionError(why_not())


def status_of(obj: Object) -> Object:
    status: Object = obj.get("status") or {}
    return status


def step(name: str, engram: str = "", **fields: Any) -> Object:
    return {"name": name, "ref": {"name": engram or name}, **fields}


@asynccontextmanager
async def open_operator_rig(
    directory: Path, *, release: Path = ROOT, version: str = DEFAULT_VERSION, **node: Any
) -> AsyncIterator[OperatorRig]:
    """A control plane with an audit log, a node, our definitions and RBAC. No operator runs yet.

    Args:
        release: the checkout that has the manifests of definitions and RBAC.
        version: of the API server.
        node: settings of the node.
    """
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(
            open_control_plane(ensure_binaries(version), directory / "plane", audit=True, flags=_STRICT)
        )
        client = await stack.enter_async_context(open_client(await load_config(plane.kubeconfig)))
        rig = OperatorRig(plane, client, directory, stack)
        rig.add_images({})
        await stack.enter_async_context(open_node(plane, directory / "images.yaml", directory / "node", **node))
        for name in (DEFAULT_INSTALLATION.namespace, FLOWS):
            await client.create(NAMESPACE, {"metadata": {"name": name}})
        await rig.install(release)
        await rig.write_kubeconfig()
        yield rig


def _is_established(definition: Object) -> bool:
    conditions = status_of(definition).get("conditions") or ()
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)


def with_token_file(kubeconfig: str, token: Path) -> str:
    """A kubeconfig that reads the token from a file, as in a Pod."""
    document = orjson.loads(kubeconfig)
    document["users"][0]["user"] = {"tokenFile": str(token)}
    return orjson.dumps(document).decode()
