"""Start a run at most once for a business key: the same key and inputs always meet the same run.

The run is named and marked as the controller of StoryTriggers would do it, so both ways of asking find each other's
runs; unlike a StoryTrigger it needs no controller, answers at once, and leaves nothing else behind.
Source: Trigger contract 2, 4.2 and 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cli.exit_code import ExitCode
from cli.problem import CommandError, UsageError
from cli.session import Session
from core.api import keys
from core.api.objects import Object
from core.api.resource import STORY_RUN
from core.kube.errors import AlreadyExistsError
from core.workloads.submission import MAX_KEY_CHARACTERS, input_hash, story_run_name

CREATED: Final = "Created"
REUSED: Final = "Reused"


@dataclass(frozen=True, slots=True)
class KeyedDecision:
    word: str
    """``Created`` or ``Reused``."""
    run: Object


def with_key(manifest: Object, key: str, namespace: str) -> Object:
    """``manifest`` named and marked for ``key``; ``namespace`` is that of the run.

    Raises:
        UsageError: no key that could be one, or the manifest has a name of its own.
    """
    key = key.strip()
    if not key or len(key) > MAX_KEY_CHARACTERS:
        raise UsageError(f"--key must have 1 to {MAX_KEY_CHARACTERS} characters")
    metadata, spec = manifest["metadata"], manifest["spec"]
    if metadata.get("name"):
        raise UsageError("--key names the run", remedy="leave out the other name")
    reference = spec["storyRef"]
    name = story_run_name(reference.get("namespace") or namespace, reference["name"], key)
    marks = {keys.ANNOTATION_TRIGGER_TOKEN: key, keys.ANNOTATION_TRIGGER_INPUT_HASH: input_hash(spec.get("inputs"))}
    kept = {field: value for field, value in metadata.items() if field != "generateName"}
    annotations = {**(metadata.get("annotations") or {}), **marks}
    return {**manifest, "metadata": {**kept, "name": name, "namespace": namespace, "annotations": annotations}}


async def start_once(session: Session, manifest: Object, *, dry_run: bool = False) -> KeyedDecision:
    """Of a manifest ``with_key``.

    Raises:
        CommandError: the key was used for something else (code 7), or its run is just being deleted.
    """
    metadata = manifest["metadata"]
    try:
        created = await session.client.create(STORY_RUN, manifest, namespace=metadata["namespace"], dry_run=dry_run)
    except AlreadyExistsError:
        found = await session.client.get(STORY_RUN, metadata["name"], metadata["namespace"])
    else:
        return KeyedDecision(CREATED, created)
    key, name = metadata["annotations"][keys.ANNOTATION_TRIGGER_TOKEN], metadata["name"]
    if found["metadata"].get("deletionTimestamp"):
        raise CommandError(f"run {name}, which has the key {key!r}, is being deleted", remedy="try again in a moment")
    if difference := _difference(found, manifest):
        raise CommandError(
            f"Rejected: run {name} has the key {key!r} and {difference}",
            remedy=f"choose another key, or look at it with: {session.command('get', name)}",
            code=ExitCode.REJECTED,
        )
    return KeyedDecision(REUSED, found)


def _difference(found: Object, wanted: Object) -> str:
    """Why ``found`` is not the run that is asked for; empty when it is."""
    namespace = wanted["metadata"]["namespace"]
    if _story(found, namespace) != _story(wanted, namespace):
        return "runs another Story, or another version of it"
    if found["spec"].get("impulseRef") != wanted["spec"].get("impulseRef"):
        return "was started by another Impulse"
    if _hash(found) != _hash(wanted):
        return "other inputs"
    return ""


def _story(run: Object, namespace: str) -> tuple[str, str, str]:
    reference = run["spec"].get("storyRef") or {}
    version = str(reference.get("version") or "").strip()
    return reference.get("name", ""), reference.get("namespace") or namespace, version


def _hash(run: Object) -> str:
    marked = (run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_TRIGGER_INPUT_HASH)
    return str(marked or input_hash(run["spec"].get("inputs")))
