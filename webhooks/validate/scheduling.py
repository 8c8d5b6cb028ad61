"""A priority above the maximum of a Story. Source: StoryRun contract 13.1; docs/scheduling.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.engine.slots.scheduling import bound_of, queue_of
from webhooks.cluster_view import ClusterView
from webhooks.finding import Finding, Rule, Severity
from webhooks.validate.change import fields_of, namespace_of

PRIORITY: Final = Rule("story/priority-bounded", "4.3", severity=Severity.WARNING)


def check(story: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    """A finding if the priority is above the maximum for runs in the Story's own namespace."""
    priority = fields_of(story["spec"].get("policy")).get("priority")
    if not isinstance(priority, int):
        return
    runs, queue, namespace = world.settings.runs, queue_of(story), namespace_of(story)
    most = bound_of(queue, namespace, runs.queues, runs.max_priorities)
    if priority > most:
        key = f"storyrun.queue.{queue}.max-priority"
        if runs.max_priorities.get(namespace) == most:
            key = f"storyrun.namespace.{namespace}.max-priority"
        message = f"is {priority}; runs use {most}, the maximum in queue {queue}"
        remedy = f"use {most} or less; {key} in the operator's ConfigMap sets the maximum"
        yield PRIORITY.at("spec.policy.priority", message, remedy)
