"""Reads the objects of a run, and of what it was made from, into a dump."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

import trio

from bubu_contract.identity import label_value
from cli.dump.contents import DumpContents
from cli.pod_logs import PodLog
from cli.runs import is_name, story_place
from cli.session import Session
from cli.worker_logs import worker_pods
from core.api import keys
from core.api.objects import Object, is_owned_by
from core.api.resource import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    EFFECT_CLAIM,
    ENGRAM,
    ENGRAM_TEMPLATE,
    EVENT,
    IMPULSE,
    JOB,
    POD,
    STATEFUL_SET,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    TRANSPORT,
    TRANSPORT_BINDING,
    Resource,
)
from core.kube.errors import KubeError, NotFoundError
from views.effects import step_run_name

MAX_OBJECTS: Final = 1_000
"""Of one kind."""
_SECONDS: Final = 15.0
"""For one request, whose answer may have several pages."""
Found = TypeVar("Found")


async def tolerant(contents: DumpContents, what: str, ask: Callable[[], Awaitable[Found]], otherwise: Found) -> Found:
    """The answer; or ``otherwise``, and the manifest says why."""
    with trio.move_on_after(_SECONDS):
        try:
            return await ask()
        except KubeError as error:
            contents.unreadable[what] = contents.redaction.text(str(error))
            return otherwise
        except Exception as error:  # noqa: BLE001 - a dump is wanted most when an object is damaged
            contents.unreadable[what] = contents.redaction.text(f"{type(error).__name__}: {error}")
            return otherwise
    contents.unreadable[what] = f"no answer within {_SECONDS:g} s"
    return otherwise


class RunObjects:
    """Collects the objects of one run in ``contents``; ``pods`` are those whose logs belong to it."""

    def __init__(self, session: Session, contents: DumpContents, run: Object) -> None:
        self._session = session
        self._contents = contents
        self._run = run
        self._namespace = str(run["metadata"]["namespace"])
        self._uids = {run["metadata"]["uid"]}
        self.pods: list[Object] = []

    async def collect(self) -> None:
        self._contents.add_object("run.json", {**_head(STORY_RUN), **self._run})
        step_runs = await self._owned(STEP_RUN)
        async with trio.open_nursery() as nursery:
            for resource in (JOB, DEPLOYMENT, STATEFUL_SET, TRANSPORT_BINDING):
                nursery.start_soon(self._labelled, resource)
            nursery.start_soon(self._collect_pods, step_runs)
            nursery.start_soon(self._collect_story)
            nursery.start_soon(self._collect_children)
            nursery.start_soon(self._collect_claims, step_runs)
            nursery.start_soon(self._collect_triggers)
        await self._collect_definitions(step_runs)
        await self._collect_events()

    async def _owned(self, resource: Resource) -> list[Object]:
        uid = self._run["metadata"]["uid"]
        found = [each for each in await self._listed(resource, self._selector()) if is_owned_by(each, uid)]
        self._add(resource, found)
        return found

    async def _labelled(self, resource: Resource) -> None:
        self._add(resource, await self._listed(resource, self._selector()))

    async def _collect_pods(self, step_runs: Sequence[Object]) -> None:
        self.pods = await self._listed(POD, self._selector())
        with_workers: list[PodLog] = await tolerant(
            self._contents, "pods of warm workers", lambda: worker_pods(self._session, self._run, step_runs), []
        )
        self.pods += [log.pod for log in with_workers]
        self._add(POD, self.pods)

    async def _collect_story(self) -> None:
        namespace, name = story_place(self._run)
        await self._one(STORY, name, namespace, "story.json")
        revision = (self._run.get("status") or {}).get("storyRevision")
        if isinstance(revision, str) and is_name(revision):
            await self._one(CONTROLLER_REVISION, revision, namespace, "story-revision.json")

    async def _collect_children(self) -> None:
        selector = f"{keys.LABEL_PARENT_STORY_RUN}={label_value(self._run['metadata']['name'])}"
        self._add(STORY_RUN, await self._listed(STORY_RUN, selector), "children")

    async def _collect_claims(self, step_runs: Sequence[Object]) -> None:
        names = {each["metadata"]["name"] for each in step_runs}
        if names:
            claims = await self._listed(EFFECT_CLAIM, None)
            self._add(EFFECT_CLAIM, [each for each in claims if step_run_name(each) in names])

    async def _collect_triggers(self) -> None:
        """The StoryTrigger that has started the run, and the Impulse, if there is one."""
        annotations = self._run["metadata"].get("annotations") or {}
        trigger = annotations.get(keys.ANNOTATION_TRIGGER_REQUEST_NAME)
        if trigger and is_name(trigger):
            await self._one(STORY_TRIGGER, trigger, self._namespace, "trigger.json")
        impulse = (self._run["spec"].get("impulseRef") or {}).get("name")
        if impulse and is_name(impulse):
            await self._one(IMPULSE, impulse, self._namespace, "impulse.json")

    async def _collect_definitions(self, step_runs: Sequence[Object]) -> None:
        """The Engrams of the steps, their templates, and the transports."""
        engrams = {
            (str(ref.get("namespace") or self._namespace), str(ref["name"]))
            for each in step_runs
            if (ref := each["spec"].get("engramRef") or {}).get("name")
        }
        templates: set[str] = set()
        for namespace, name in sorted(engrams):
            engram = await self._one(ENGRAM, name, namespace, f"engrams/{namespace}.{name}.json")
            template = ((engram or {}).get("spec") or {}).get("templateRef") or {}
            templates |= {str(template["name"])} if template.get("name") else set()
        for name in sorted(templates):
            await self._one(ENGRAM_TEMPLATE, name, None, f"engramtemplates/{name}.json")
        if any(path.startswith(f"{TRANSPORT_BINDING.plural}/") for path in self._contents.files):
            self._add(TRANSPORT, await self._listed(TRANSPORT, None, everywhere=True))

    async def _collect_events(self) -> None:
        """The Events about the objects that were read."""
        found = await self._listed(EVENT, None)
        about = [each for each in found if (each.get("regarding") or {}).get("uid") in self._uids]
        about.sort(key=lambda each: str(each["metadata"].get("creationTimestamp")))
        redacted = [self._contents.redaction.object({**_head(EVENT), **each}) for each in about[-MAX_OBJECTS:]]
        self._contents.add_json("events.json", redacted)

    # Requests.

    def _selector(self) -> str:
        return f"{keys.LABEL_STORY_RUN}={label_value(self._run['metadata']['name'])}"

    async def _listed(self, resource: Resource, selector: str | None, *, everywhere: bool = False) -> list[Object]:
        namespace = None if everywhere else self._namespace

        async def ask() -> list[Object]:
            return (await self._session.client.list(resource, namespace, label_selector=selector)).items

        return await tolerant(self._contents, resource.plural, ask, [])

    async def _one(self, resource: Resource, name: str, namespace: str | None, path: str) -> Object | None:
        async def ask() -> Object | None:
            try:
                return await self._session.client.get(resource, name, namespace)
            except NotFoundError:
                self._contents.unreadable[path] = f"{resource.kind} {name} does not exist"
                return None

        found: Object | None = await tolerant(self._contents, path, ask, None)
        if found is not None:
            self._contents.add_object(path, {**_head(resource), **found})
            self._uids.add(found["metadata"]["uid"])
        return found

    def _add(self, resource: Resource, objects: Iterable[Object], folder: str = "") -> None:
        found = list(objects)
        for each in found[:MAX_OBJECTS]:
            path = f"{folder or resource.plural}/{each['metadata']['name']}.json"
            self._contents.add_object(path, {**_head(resource), **each})
            self._uids.add(each["metadata"]["uid"])
        if len(found) > MAX_OBJECTS:
            self._contents.shortened[folder or resource.plural] = f"only {MAX_OBJECTS} of {len(found)}"


def _head(resource: Resource) -> Object:
    """The items of a list have no apiVersion and kind."""
    return {"apiVersion": resource.api_version, "kind": resource.kind}
