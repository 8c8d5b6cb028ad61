"""The extra rules that the Engrams of a Story and their templates request for containers."""

from __future__ import annotations

from core.api.objects import Object
from core.engine.errors import AwaitedError, MissingReferenceError
from core.workloads.runner_rules import Rule, extra_rules, refusals
from reconcilers.adapters.binding import Binder
from reconcilers.adapters.world import step_references


async def requested_rules(binder: Binder, story: Object, namespace: str) -> tuple[list[Rule], list[str]]:
    """The rules that containers in ``namespace`` get, and for each one that they do not get its place and the reason.

    A missing Engram adds nothing. Its step waits for it, and then this is asked again.

    Raises:
        UnavailableError: the Engrams could not be read.
    """
    rules: list[Rule] = []
    refused: list[str] = []
    for step in step_references(story):
        try:
            engram, template = await binder.definitions(story, step)
        except (AwaitedError, MissingReferenceError):
            continue
        rules += extra_rules(template, engram, namespace)
        refused += refusals(template, engram, namespace)
    return rules, refused
