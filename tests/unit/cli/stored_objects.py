"""Objects of a run on the API server of a test."""

from __future__ import annotations

from typing import Any

from cli.runs import run_manifest, start_run
from cli.session import Session
from core.api.objects import Object
from core.api.resource import STORY_RUN, Resource


async def make(session: Session, resource: Resource, obj: Object, **status: Any) -> Object:
    typed = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
    made = await session.client.create(resource, typed, namespace="default")
    if status:
        made = await session.client.patch(
            resource, made["metadata"]["name"], {"status": status}, namespace="default", subresource="status"
        )
    return made


def owned(run: Object, kind: str = "StoryRun") -> list[Object]:
    return [
        {
            "apiVersion": run["apiVersion"],
            "kind": kind,
            "name": run["metadata"]["name"],
            "uid": run["metadata"]["uid"],
            "controller": True,
        }
    ]


async def a_run(session: Session, name: str = "release-1", story: str = "release", **status: Any) -> Object:
    await start_run(session, run_manifest(story, "default", {}, name=name))
    return await session.client.patch(STORY_RUN, name, {"status": status}, namespace="default", subresource="status")
