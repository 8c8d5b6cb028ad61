"""What containers may not even ask for: rules that are never handed on to them.

They are left out when a run starts, whoever asks (``core.workloads.runner_rules``); here they are refused when they are
written down. Source: StepRun contract 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.workloads import runner_rules
from webhooks.cluster_view import Object
from webhooks.finding import Cause, Finding, Rule
from webhooks.validate.change import fields_of

NEVER: Final = Rule("definition/rights", "7", Cause.FORBIDDEN)


def check(new: Object, part: str) -> Iterator[Finding]:
    """The rules in ``spec[part]``: ``execution``, or ``overrides`` of an Engram."""
    rules = fields_of(fields_of(new["spec"].get(part)).get("rbac")).get("rules")
    for index, rule in enumerate(rules or ()):
        refused = runner_rules.why_not(rule, by_engram=part == "overrides")
        if refused:
            path = f"spec.{part}.rbac.rules[{index}]"
            yield NEVER.at(path, refused, "ask for less; docs/permissions.md says what can be allowed")
