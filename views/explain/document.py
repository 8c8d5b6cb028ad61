"""An explanation of a step as JSON. Pure."""

from __future__ import annotations

from typing import Any

from views.explain.facts import ExplainedValue, StepExplanation


def document_of(explanation: StepExplanation) -> dict[str, Any]:
    """All of it, for programs. A value of null is unknown if ``known`` is false, otherwise it is not set."""
    return {
        "namespace": explanation.namespace,
        "run": explanation.run,
        "step": explanation.step,
        "engram": explanation.engram,
        "engramTemplate": explanation.template,
        "state": explanation.state,
        "job": explanation.job,
        "values": [_value(value, has_job=bool(explanation.job)) for value in explanation.values],
        "notes": list(explanation.notes),
        "problems": list(explanation.problems),
        "unseen": list(explanation.unseen),
    }


def _value(value: ExplainedValue, *, has_job: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "setting": value.setting,
        "value": value.value,
        "known": value.is_known,
        "layer": value.layer,
        "from": value.source,
    }
    if has_job and (value.in_job is not None or value.differs):
        found |= {"inJob": value.in_job, "differs": value.differs}
    return found | ({"why": value.why} if value.why else {})
