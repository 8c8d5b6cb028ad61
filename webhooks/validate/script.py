"""Script steps of a Story: their image, and fields that only they have. Source: admission contract 4.4.

Authors of Stories choose images by them, so the operator's setting ``scripts.images`` must allow each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.story.step import Step
from core.workloads.script import is_script, why_image_not_allowed
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule
from webhooks.validate import floor, payload, worker

IMAGE: Final = Rule("story/script-image", "4.4", CauseType.FORBIDDEN)
FIELD: Final = Rule("story/script-field", "4.4")

_OF_SCRIPTS: Final = ("image", "shell")


def check(placed: Step, world: ClusterView) -> Iterator[Finding]:
    """Findings about a script step, or about fields of one in another step."""
    step, path = placed.declared, placed.place
    if not is_script(step):
        for key in _OF_SCRIPTS:
            if step.get(key) is not None:
                yield FIELD.at(f"{path}.{key}", "has an effect only together with run", "remove it, or add run")
        return
    if not step["run"].strip():
        yield FIELD.at(f"{path}.run", "must not be blank", "write the script")
    if "\0" in step["run"]:
        yield FIELD.at(f"{path}.run", "has a NUL character, which no program can receive", "remove it")
    if step.get("secrets"):
        message = "a script has no Secrets, because no template declares them"
        yield FIELD.at(f"{path}.secrets", message, "use an Engram whose template has a secretSchema")
    if placed.realtime:
        yield FIELD.at(f"{path}.run", "a script cannot serve a stream", "use pattern: batch, or move it to finally")
    execution = step.get("execution") or {}
    yield from floor.check(execution, f"{path}.execution", Unseen.UNKNOWN, world)
    limit = execution.get("maxInlineSize") or world.settings.engram.max_inline_size_bytes
    yield from payload.check_size(worker.INLINE, step.get("with"), f"{path}.with", limit)
    if world.policy is not Unseen.UNKNOWN and (refused := why_image_not_allowed(step, world.settings.scripts)):
        yield IMAGE.at(f"{path}.image" if step.get("image") else f"{path}.run", *refused)
