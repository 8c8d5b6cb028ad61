"""Permissions that the operator never grants to containers.

When a run starts, they are left out for every author (``core.workloads.runner_rules``); this module refuses them when
the object is written. Source: StepRun contract 16, Trigger contract 6.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.resource import ENGRAM, IMPULSE
from core.workloads import runner_rules
from webhooks.finding import CauseType, Finding, Rule
from webhooks.validate.change import fields_of, name_of

NEVER: Final = Rule("definition/rights", "7", CauseType.FORBIDDEN)


def check(new: ReadOnlyObject, part: str) -> Iterator[Finding]:
    """Checks the rules in ``spec[part]``: ``execution``, or ``overrides`` of an Engram."""
    rules = fields_of(fields_of(new["spec"].get(part)).get("rbac")).get("rules")
    impulse = name_of(new) if new["kind"] == IMPULSE.kind else ""
    for index, rule in enumerate(rules or ()):
        refused = runner_rules.why_not(rule, by_tenant=new["kind"] in (ENGRAM.kind, IMPULSE.kind), impulse=impulse)
        if refused:
            path = f"spec.{part}.rbac.rules[{index}]"
            yield NEVER.at(path, refused, "remove the rule; docs/permissions.md describes which rules are possible")
