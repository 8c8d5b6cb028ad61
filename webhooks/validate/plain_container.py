"""The block ``container`` of an EngramTemplate: an image without an SDK. Source: admission contract 7.

What is wrong is decided in ``core.workloads.container_problems``, which the operator asks as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.workloads.container_problems import container_problems, container_warnings
from webhooks.finding import Finding, Rule, Severity

CONTAINER: Final = Rule("template/container", "7")
DOUBTFUL: Final = Rule("template/container-doubtful", "7", severity=Severity.WARNING)


def check(spec: ReadOnlyObject) -> Iterator[Finding]:
    """All errors and doubts about ``spec.container`` of a template that matches its schema."""
    for rule, found in ((CONTAINER, container_problems(spec)), (DOUBTFUL, container_warnings(spec))):
        yield from (rule.at(each.path, each.message, each.remedy, each.excerpt) for each in found)
