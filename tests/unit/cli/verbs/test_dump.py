"""A dump of a run in whose objects secrets are planted everywhere: none of them is in the archive."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import httpx

from cli.options import CommonOptions
from cli.session import Session
from cli.verbs.dump import write_dump as dump
from core.api import keys
from core.api.objects import Object
from core.api.resource import (
    CONFIG_MAP,
    EVENT,
    JOB,
    NAMESPACE,
    POD,
    ROLE,
    ROLE_BINDING,
    STEP_RUN,
    STORY,
    STORY_RUN,
    Resource,
)
from core.kube.client import open_client
from deployment.permissions.names import CONFIG_NAME, DEFAULT_INSTALLATION
from tests.unit.cli.conftest import Server, session_of

PLANTED = "planted-4711"
LOG = f"begins\napi_key={PLANTED}-log\nuses {PLANTED}-password and {PLANTED}-env\n"
LABELS = {keys.LABEL_STORY_RUN: "run"}
ANNOTATIONS = {"team.example/note": f"{PLANTED}-annotation"}


def reference(obj: Object, kind: Resource) -> Object:
    metadata = obj["metadata"]
    return {"apiVersion": kind.api_version, "kind": kind.kind, "name": metadata["name"], "uid": metadata["uid"]}


async def plant(session: Session) -> None:
    """A run with a step, its Job, Pod and Event; each has secrets wherever one may be."""

    async def create(resource: Resource, name: str, **content: Any) -> Object:
        metadata = {"name": name, "labels": LABELS, "annotations": ANNOTATIONS, **content.pop("metadata", {})}
        manifest = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **content}
        return await session.client.create(resource, manifest, namespace="default")

    await create(STORY, "story", spec={"steps": [{"name": "a", "type": "sleep", "with": {"token": f"{PLANTED}-def"}}]})
    inputs = {"city": f"{PLANTED}-city", "password": f"{PLANTED}-password"}
    run = await create(STORY_RUN, "run", spec={"storyRef": {"name": "story"}, "inputs": inputs})
    status: Object = {"phase": "Failed", "message": f"token={PLANTED}-message", "output": {"a": f"{PLANTED}-output"}}
    await session.client.patch(STORY_RUN, "run", {"status": status}, namespace="default", subresource="status")
    owned = {"ownerReferences": [reference(run, STORY_RUN)]}
    spec = {"storyRunRef": {"name": "run"}, "stepId": "a", "engramRef": {"name": "e"}, "input": {"a": f"{PLANTED}-in"}}
    await create(STEP_RUN, "run-a", spec=spec, metadata=owned)
    container = {
        "name": "engram",
        "image": "x",
        "args": [f"--key={PLANTED}-argument"],
        "env": [{"name": "DB_PASSWORD", "value": f"{PLANTED}-env"}, {"name": "PLAIN", "value": f"{PLANTED}-plain"}],
    }
    template = {
        "metadata": {"labels": LABELS, "annotations": ANNOTATIONS},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    await create(JOB, "run-a", spec={"template": template})
    pod = await create(POD, "run-a-1", spec=template["spec"])
    state = {"name": "engram", "ready": False, "restartCount": 0, "image": "x", "imageID": "x"}
    terminated = {"terminated": {"exitCode": 1, "message": f"token={PLANTED}-termination"}}
    status = {"phase": "Failed", "containerStatuses": [{**state, "state": terminated}]}
    await session.client.patch(POD, "run-a-1", {"status": status}, namespace="default", subresource="status")
    await create(
        EVENT,
        "event",
        regarding={**reference(pod, POD), "namespace": "default"},
        note=f"password={PLANTED}-note",
        reason="Failed",
        type="Warning",
        action="x",
        eventTime="2026-11-24T12:00:00.000000Z",
        reportingController="x",
        reportingInstance="x",
    )


def contents_of(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as opened:
        return {
            member.name.partition("/")[2]: file.read().decode()
            for member in opened.getmembers()
            if (file := opened.extractfile(member)) is not None
        }


class RecordingLogs(httpx.AsyncBaseTransport):
    """Notes what is asked for, and asks for it. It answers requests for logs itself: there is no node."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self.paths: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        if request.url.path.endswith("/log"):
            return httpx.Response(200, content=LOG.encode())
        return await self._transport.handle_async_request(request)


async def test_no_planted_secret_is_in_the_archive(server: Server, session: Session, tmp_path: Path) -> None:
    await plant(session)

    async with open_client(server.config, transport=RecordingLogs(server.transport)) as client:
        recorded = session_of(client, CommonOptions())
        place = tmp_path / "d.tar.gz"
        target, _ = await dump(recorded, "run", place, DEFAULT_INSTALLATION, with_data=False, with_logs=True)

    files = contents_of(target)
    assert set(files) >= {
        *("manifest.json", "run.json", "story.json", "stepruns/run-a.json", "jobs/run-a.json", "pods/run-a-1.json"),
        *("events.json", "why.txt", "why.json", "timeline.json", "config.json", "doctor.json", "versions.json"),
    }
    assert [path for path, text in files.items() if PLANTED in text] == []
    assert files["logs/run-a-1.engram.log"] == "begins\napi_key=[redacted]\nuses [redacted] and [redacted]\n"
    manifest = json.loads(files["manifest.json"])
    assert set(manifest["files"]) == set(files) - {"manifest.json"}
    assert {"run.json", "pods/run-a-1.json", "jobs/run-a.json", "events.json"} <= set(manifest["valuesLeftOut"])
    assert len(json.loads(files["events.json"])) == 1


async def test_no_secret_is_read(server: Server, session: Session, tmp_path: Path) -> None:
    await plant(session)
    await session.client.create(NAMESPACE, {"metadata": {"name": DEFAULT_INSTALLATION.namespace}})
    stored = {
        "controller.storage.provider": "s3",
        "controller.storage.s3.bucket": "bucket",
        "controller.storage.s3.auth-secret-name": "credentials",
    }
    config_map = {"metadata": {"name": CONFIG_NAME}, "data": stored}
    await session.client.create(CONFIG_MAP, config_map, namespace=DEFAULT_INSTALLATION.namespace)
    transport = RecordingLogs(server.transport)

    async with open_client(server.config, transport=transport) as client:
        target = tmp_path / "d.tar.gz"
        recorded = session_of(client, CommonOptions())
        await dump(recorded, "run", target, DEFAULT_INSTALLATION, with_data=True, with_logs=True)

    assert len(transport.paths) > 100
    assert [path for path in transport.paths if "/secrets" in path] == []


async def test_with_data_only_what_looks_like_a_secret_is_left_out(session: Session, tmp_path: Path) -> None:
    await plant(session)

    target, _ = await dump(session, "run", tmp_path / "d.tar.gz", DEFAULT_INSTALLATION, with_data=True, with_logs=False)

    inputs = json.loads(contents_of(target)["run.json"])["spec"]["inputs"]
    assert inputs == {"city": f"{PLANTED}-city", "password": "[redacted]"}
    assert not any(f"{PLANTED}-{word}" in text for text in contents_of(target).values() for word in ("password", "env"))


async def test_what_the_user_may_not_read_is_named_in_the_manifest(
    server: Server, session: Session, tmp_path: Path
) -> None:
    await plant(session)
    rules = [{"apiGroups": [STORY_RUN.group], "resources": ["storyruns", "stepruns"], "verbs": ["get", "list"]}]
    role, binding = (
        {"metadata": {"name": "reader"}, "rules": rules},
        {
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}],
        },
    )
    await session.client.create(ROLE, role, namespace="default")
    await session.client.create(ROLE_BINDING, binding, namespace="default")

    async with server.session_as("ann") as hers:
        target, _ = await dump(
            hers, "run", tmp_path / "d.tar.gz", DEFAULT_INSTALLATION, with_data=False, with_logs=True
        )

    files = contents_of(target)
    manifest = json.loads(files["manifest.json"])
    assert {"run.json", "stepruns/run-a.json", "doctor.json"} <= set(files)
    assert {"pods", "jobs", "events", "story.json", "config.json"} <= set(manifest["notReadable"])
