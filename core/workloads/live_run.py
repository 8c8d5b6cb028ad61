"""The runs of Stories that are always on: their names, their marks and how one recognizes them. Pure.

The name is derived from the UID and the generation of the Story and from the run before, so all processes that decide
on the same state create the same object: a lost answer or a crash never makes two. Source: streaming contract 8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bubu_contract.identity import compose_with_suffix, label_value
from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.api.resource import STORY_RUN
from core.story.story import is_realtime

PER_STORY: Final = "PerStory"
"""The value of ``spec.streamingStrategy`` of a Story that is always on."""
_HASH_LENGTH: Final = 12


def is_always_on(spec: Mapping[str, Any]) -> bool:
    """Whether the operator keeps a run of the Story."""
    return is_realtime(spec) and spec.get("streamingStrategy") == PER_STORY


def is_live_run(run: ReadOnlyObject) -> bool:
    """Whether the operator has made the run for a Story that is, or was, always on."""
    return bool(story_uid_of(run))


def is_live_run_of(run: ReadOnlyObject, story: ReadOnlyObject) -> bool:
    """Whether the operator has made the run for exactly this Story, and not for an earlier one of its name."""
    uid = (story.get("metadata") or {}).get("uid")
    return bool(uid) and story_uid_of(run) == uid


def why_not_startable(run: ReadOnlyObject, story: ReadOnlyObject) -> str | None:
    """Why the run cannot be one of the Story; None if it can."""
    if not is_always_on(story.get("spec") or {}) or is_live_run_of(run, story):
        return None
    return always_on_problem(str((story.get("metadata") or {}).get("name") or ""))


def always_on_problem(story: str) -> str:
    """Why only the operator starts a run of the Story, with the remedy."""
    return (
        f"Story {story!r} has streamingStrategy: PerStory, so the operator keeps its only run; use that one, "
        "or set streamingStrategy: PerStoryRun"
    )


def story_uid_of(run: ReadOnlyObject) -> str:
    """Empty for a run that the operator has not started."""
    return _annotation(run, keys.ANNOTATION_LIVE_STORY_UID)


def generation_of_story(run: ReadOnlyObject) -> int:
    """The generation of the Story that a live run was made for; -1 if the annotation is damaged."""
    text = _annotation(run, keys.ANNOTATION_LIVE_GENERATION)
    return int(text) if text.isdecimal() else -1


def predecessor_of(run: ReadOnlyObject) -> str:
    """The UID of the run before; empty if there was none."""
    return _annotation(run, keys.ANNOTATION_LIVE_PREDECESSOR)


def restarts_of(run: ReadOnlyObject) -> int:
    """The number of runs in a row before this one that failed early."""
    text = _annotation(run, keys.ANNOTATION_LIVE_RESTARTS)
    return int(text) if text.isdecimal() else 0


def is_replaced(run: ReadOnlyObject) -> bool:
    """Whether the operator has canceled the run; otherwise a person has, if it was canceled."""
    return bool(_annotation(run, keys.ANNOTATION_LIVE_REPLACED))


def is_succeeded_by_another(run: ReadOnlyObject, runs: Iterable[ReadOnlyObject]) -> bool:
    """Whether one of ``runs`` names this run as the one before it."""
    uid = run["metadata"]["uid"]
    return any(predecessor_of(other) == uid for other in runs)


def live_run_manifest(story: ReadOnlyObject, predecessor: str, restarts: int) -> Object:
    """The StoryRun to create.

    Args:
        predecessor: the UID of the run before; empty if there is none.
        restarts: see ``restarts_of``.
    """
    own = story["metadata"]
    name, uid, generation = str(own["name"]), str(own["uid"]), int(own.get("generation") or 0)
    digest = hashlib.sha256(f"{uid}\0{generation}\0{predecessor}\0".encode()).hexdigest()[:_HASH_LENGTH]
    annotations = {
        keys.ANNOTATION_LIVE_STORY_UID: uid,
        keys.ANNOTATION_LIVE_GENERATION: str(generation),
        keys.ANNOTATION_LIVE_RESTARTS: str(restarts),
        **({keys.ANNOTATION_LIVE_PREDECESSOR: predecessor} if predecessor else {}),
    }
    return {
        "apiVersion": STORY_RUN.api_version,
        "kind": STORY_RUN.kind,
        "metadata": {
            "name": compose_with_suffix(name, f"live-{digest}"),
            "namespace": own["namespace"],
            "labels": {keys.LABEL_LIVE_RUN_OF: label_value(name)},
            "annotations": annotations,
        },
        "spec": {"storyRef": {"name": name}},
    }


def _annotation(run: ReadOnlyObject, key: str) -> str:
    value = ((run.get("metadata") or {}).get("annotations") or {}).get(key)
    return value.strip() if isinstance(value, str) else ""
