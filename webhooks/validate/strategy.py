"""``spec.streamingStrategy`` of a Story: where it may stand, and what a Story that is always on must be.

Source: admission contract 4.10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.story.story import is_realtime
from core.workloads.live_run import is_always_on
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import schema

PATTERN: Final = Rule("story/strategy-pattern", "4.10", CauseType.FORBIDDEN)
INPUTS: Final = Rule("story/strategy-inputs", "4.10")


def check(spec: ReadOnlyObject) -> Iterator[Finding]:
    """Findings if the Story is not realtime, or if its run, which gets no inputs, could not start."""
    strategy = spec.get("streamingStrategy")
    if strategy is not None and not is_realtime(spec):
        message = f"{strategy} is only possible with pattern: realtime"
        yield PATTERN.at("spec.streamingStrategy", message, "set pattern: realtime, or remove it")
    if not is_always_on(spec):
        return
    path = "spec.inputsSchema"
    for found in schema.check_document(INPUTS, spec.get("inputsSchema"), {}, path):
        if found.severity is Severity.ERROR:
            where = f" at {place}" if (place := found.path.removeprefix(path).removeprefix(".")) else ""
            message = (
                f"refuses empty inputs, with which streamingStrategy: PerStory starts its run:{where} {found.message}"
            )
            yield INPUTS.at(path, message, "give each required input a default, or set streamingStrategy: PerStoryRun")
        else:
            yield found
