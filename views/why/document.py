"""An explanation as data, for programs. Pure."""

from __future__ import annotations

from datetime import datetime

from bubu_contract.instants import format_instant
from core.api.objects import Object
from views.signals import SignalView
from views.why.cause import Cause, Explanation
from views.why.listener import ListenerExplanation


def document_of(explanation: Explanation) -> Object:
    """All fields are always present; instants are RFC 3339, null if there is none."""
    return {
        "namespace": explanation.namespace,
        "trigger": explanation.trigger,
        "run": explanation.run,
        "step": explanation.step,
        "story": explanation.story,
        "phase": explanation.phase,
        "message": explanation.message,
        "since": _instant(explanation.since),
        "until": _instant(explanation.until),
        "summary": explanation.summary,
        "causes": [_cause(cause) for cause in explanation.causes],
        "later": [{"step": step, "needs": list(needs)} for step, needs in explanation.later],
        "unseen": list(explanation.unseen),
        "trace": explanation.trace.document() if explanation.trace is not None else None,
    }


def document_of_listener(explanation: ListenerExplanation) -> Object:
    """The same about an Impulse."""
    view = explanation.view
    return {
        "namespace": view.namespace,
        "impulse": view.name,
        "template": view.template,
        "story": view.story,
        "phase": str(view.phase or ""),
        "ready": view.is_ready,
        "reason": view.reason,
        "message": view.message,
        "since": _instant(view.since),
        "summary": explanation.summary,
        "causes": [_cause(cause) for cause in explanation.causes],
        "unseen": list(explanation.unseen),
    }


def _cause(cause: Cause) -> Object:
    return {
        "kind": str(cause.kind),
        "namespace": cause.namespace,
        "trigger": cause.trigger,
        "run": cause.run,
        "step": cause.step,
        "via": list(cause.via),
        "text": cause.text,
        "since": _instant(cause.since),
        "until": _instant(cause.until),
        "then": cause.then,
        "who": cause.who,
        "commands": list(cause.commands),
        "facts": dict(cause.facts),
        "lastLines": list(cause.last_lines),
        "signal": _signal(cause.signal),
    }


def _signal(signal: SignalView | None) -> Object | None:
    return {"key": signal.key, "text": signal.text, "at": _instant(signal.at)} if signal is not None else None


def _instant(instant: datetime | None) -> str | None:
    return format_instant(instant) if instant is not None else None
