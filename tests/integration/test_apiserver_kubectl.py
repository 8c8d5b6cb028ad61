"""A real kubectl against the API server over TLS."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import trio
import trustme
from hypercorn.config import Config
from hypercorn.trio import serve

from localcluster.server.cluster import open_api_server
from tests.integration.kubectl_binary import KUBECTL, needs_kubectl
from tests.integration.widgets import definition, widget

pytestmark = [pytest.mark.kubectl, needs_kubectl]

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{url}", certificate-authority: "{ca}"}}}}]
users: [{{name: u, user: {{token: "{token}"}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl with its own kubeconfig and home folder."""

    home: Path

    def command(self, *arguments: str) -> list[str]:
        assert KUBECTL is not None
        return [KUBECTL, f"--kubeconfig={self.home / 'kubeconfig'}", f"--cache-dir={self.home / 'cache'}", *arguments]

    async def run(self, *arguments: str, stdin: object = None) -> subprocess.CompletedProcess[bytes]:
        return await trio.run_process(
            self.command(*arguments),
            stdin=orjson.dumps(stdin) if stdin is not None else b"",
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
        )

    async def __call__(self, *arguments: str, stdin: object = None) -> str:
        """The output of a command that must succeed."""
        done = await self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pem = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.certfile = config.keyfile = str(pem)
    config.errorlog = None
    config.graceful_timeout = 0.1
    async with open_api_server() as server, trio.open_nursery() as nursery:
        (url,) = await nursery.start(serve, server.app, config)
        text = KUBECONFIG.format(url=url, ca=tmp_path / "ca.pem", token=server.admin_token)
        (tmp_path / "kubeconfig").write_text(text)
        yield Kubectl(tmp_path)
        nursery.cancel_scope.cancel()


async def test_custom_objects_are_applied_waited_for_and_deleted(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=definition())
    await kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=5s")
    assert await kubectl("apply", "-f", "-", stdin=widget("a")) == "widget.example.com/a created"
    assert await kubectl("apply", "-f", "-", stdin=widget("a")) == "widget.example.com/a unchanged"
    changed = widget("a", {"color": "blue"})
    assert await kubectl("apply", "-f", "-", stdin=changed) == "widget.example.com/a configured"
    assert await kubectl("get", "wd", "-o", "jsonpath={.items[*].spec.color}") == "blue"
    await kubectl("patch", "wd", "a", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Done"}}')
    await kubectl("wait", "--for=jsonpath={.status.phase}=Done", "wd/a", "--timeout=5s")
    assert "color\t<string> -required-" in await kubectl("explain", "wd.spec")
    refused = await kubectl.run("apply", "-f", "-", stdin=widget("b", {"color": "red", "bogus": 1}))
    assert b'unknown field "spec.bogus"' in refused.stderr
    assert "deleted" in await kubectl("delete", "wd", "a")
    assert "deleted" in await kubectl("delete", "crd", "widgets.example.com")


async def test_server_side_apply_tells_of_conflicts(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=definition())
    await kubectl("apply", "--server-side", "-f", "-", stdin=widget("a"))
    blue = widget("a", {"color": "blue"})
    conflict = await kubectl.run("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=blue)
    assert b'Apply failed with 1 conflict: conflict with "kubectl": .spec.color' in conflict.stderr
    await kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", stdin=blue)
    assert await kubectl("get", "wd", "a", "-o", "jsonpath={.spec.color}") == "blue"


async def test_built_in_kinds_are_created_changed_and_shown(kubectl: Kubectl) -> None:
    await kubectl("create", "configmap", "c", "--from-literal=a=b")
    await kubectl("create", "secret", "generic", "s", "--from-literal=a=b")
    assert await kubectl("get", "secret", "s", "-o", "jsonpath={.data.a}") == "Yg=="
    await kubectl("create", "deployment", "d", "--image=nginx", "--replicas=2")
    await kubectl("scale", "deployment", "d", "--replicas=3")
    await kubectl("set", "image", "deployment/d", "nginx=nginx:2")
    wide = await kubectl("get", "deployment", "d", "-o", "wide")
    assert "0/3" in wide
    assert "nginx:2" in wide
    await kubectl("create", "job", "j", "--image=busybox", "--", "true")
    assert "Completions:" in await kubectl("describe", "job", "j")
    await kubectl("run", "p", "--image=nginx")
    assert "Pending" in await kubectl("get", "pods")
    await kubectl("label", "pod", "p", "a=b")
    assert await kubectl("get", "pods", "-l", "a=b", "-o", "name") == "pod/p"
    await kubectl("delete", "pod", "p", "--force", "--grace-period=0")
    await kubectl("delete", "configmap", "c", "--cascade=foreground", "--wait=false")
    assert await kubectl("get", "configmap", "c", "-o", "jsonpath={.metadata.finalizers}") == '["foregroundDeletion"]'


async def test_a_watch_prints_what_happens(kubectl: Kubectl) -> None:
    await kubectl("create", "configmap", "first")
    watch = kubectl.command("get", "configmap", "--watch", "--output-watch-events", "--no-headers")
    process = await trio.lowlevel.open_process(watch, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with process.stdout:
            lines = Lines(process.stdout)
            assert await lines.next() == ["ADDED", "first"]
            await kubectl("annotate", "configmap", "first", "a=b")
            await kubectl("delete", "configmap", "first")
            assert await lines.next() == ["MODIFIED", "first"]
            assert await lines.next() == ["DELETED", "first"]
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


class Lines:
    """The first two words of each line of a stream."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def next(self) -> list[str]:
        with trio.fail_after(30):
            while b"\n" not in self._buffer:
                self._buffer += await self._stream.receive_some()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode().split()[:2]


async def test_access_can_be_asked_about(kubectl: Kubectl) -> None:
    assert await kubectl("auth", "can-i", "create", "pods") == "yes"
    assert "kubernetes-admin" in await kubectl("auth", "whoami")
    await kubectl("create", "serviceaccount", "bob")
    await kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    await kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:bob")
    bob = "--as=system:serviceaccount:default:bob"
    assert await kubectl("auth", "can-i", "get", "pods", bob) == "yes"
    denied = await kubectl.run("auth", "can-i", "delete", "pods", bob)
    assert denied.stdout.strip() == b"no"
    assert len((await kubectl("create", "token", "bob")).split(".")) == 3


async def test_discovery_lists_what_is_served(kubectl: Kubectl) -> None:
    resources = await kubectl("api-resources", "-o", "name")
    assert {"pods", "jobs.batch", "customresourcedefinitions.apiextensions.k8s.io"} <= set(resources.split())
    assert "v1.37" in await kubectl("version")
    assert "Environment variables" in await kubectl("explain", "pod.spec.containers.env")
