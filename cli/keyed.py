"""Start a run at most once for a business key: the same key and inputs always have the same run.

``core.workloads.keyed_request`` names the run and decides; so this command and a StoryTrigger find each other's runs.
The command needs no controller, answers at once, and creates nothing else. Source: Trigger contract 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bubu_contract.submission import MAX_KEY_CHARACTERS
from cli.exit_code import ExitCode
from cli.problem import CommandError, UsageError
from cli.session import Session
from core.api import keys
from core.api.objects import Object
from core.api.resource import STORY_RUN
from core.kube.errors import AlreadyExistsError
from core.workloads.keyed_request import Decision, Difference, UnusableKeyError, decide, keyed_run

_DIFFERS: Final = {
    Difference.STORY: "runs another Story, or another version of it",
    Difference.IMPULSE: "was started by another Impulse",
    Difference.INPUTS: "other inputs",
}


@dataclass(frozen=True, slots=True)
class KeyedRun:
    decision: Decision
    """``CREATED`` or ``REUSED``."""
    run: Object


def with_key(manifest: Object, key: str, namespace: str) -> Object:
    """``manifest`` with the name and annotations for ``key``; ``namespace`` is that of the run.

    Raises:
        UsageError: the key cannot be used, or the manifest has its own name.
    """
    if manifest["metadata"].get("name"):
        raise UsageError("--key names the run", remedy="leave out the other name")
    try:
        return keyed_run(manifest, key, namespace)
    except UnusableKeyError as error:
        raise UsageError(f"--key must have 1 to {MAX_KEY_CHARACTERS} characters") from error


async def start_once(session: Session, manifest: Object, *, dry_run: bool = False) -> KeyedRun:
    """Create the run of a manifest from ``with_key``, or find it.

    Raises:
        CommandError: the key belongs to another request (code 7), or its run is being deleted.
    """
    metadata = manifest["metadata"]
    try:
        created = await session.client.create(STORY_RUN, manifest, namespace=metadata["namespace"], dry_run=dry_run)
    except AlreadyExistsError:
        found = await session.client.get(STORY_RUN, metadata["name"], metadata["namespace"])
    else:
        return KeyedRun(Decision.CREATED, created)
    key, name = metadata["annotations"][keys.ANNOTATION_TRIGGER_TOKEN], metadata["name"]
    answer = decide(manifest, found)
    if answer.decision is Decision.PENDING:
        raise CommandError(f"run {name}, which has the key {key!r}, is being deleted", remedy="try again in a moment")
    if answer.difference is not None:
        raise CommandError(
            f"Rejected: run {name} has the key {key!r} and {_DIFFERS[answer.difference]}",
            remedy=f"choose another key, or look at it with: {session.command('get', name)}",
            code=ExitCode.REJECTED,
        )
    return KeyedRun(answer.decision, found)
