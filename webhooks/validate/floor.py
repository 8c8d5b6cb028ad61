"""Warnings about less security, or more tolerations, than tenants may have.

``core.policy.bounds`` applies the bounds when a step runs; this module warns when the object is written. Where the
template or the operator's settings are unknown, the built-in ones are assumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.policy import floor
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate.change import fields_of

LOWERED: Final = Rule("definition/security-lowered", "4.4", CauseType.FORBIDDEN, Severity.WARNING)
TOLERATED: Final = Rule("definition/toleration", "4.4", CauseType.FORBIDDEN, Severity.WARNING)


def check(block: object, path: str, template: ReadOnlyObject | Unseen, world: ClusterView) -> Iterator[Finding]:
    """The ``security`` and ``placement`` in ``block``, whose path is ``path``."""
    fields = fields_of(block)
    known = None if isinstance(template, Unseen) else template
    least = floor.floor_of(world.settings, known)
    for found in floor.lowered(fields_of(fields.get("security")), least, world.settings):
        message = f"is ignored; {str(found.floor).lower()} is used"
        yield LOWERED.at(f"{path}.security.{found.field}", message, found.remedy)
    for index, toleration in enumerate(fields_of(fields.get("placement")).get("tolerations") or ()):
        if refused := floor.why_not_tolerated(fields_of(toleration), world.settings):
            place = f"{path}.placement.tolerations[{index}]"
            yield TOLERATED.at(place, f"is ignored: it {refused}", floor.toleration_remedy())
