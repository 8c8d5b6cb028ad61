"""The keys in the ``with`` of primitive steps. Source: admission contract 4.9.

Nobody reads an unknown key. If it resembles a key that is absent, it is an error: a limit, a deadline or a condition
that has no effect makes the run do something else than its author wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from core.api.suggestion import closest
from core.story.kinds import SETTINGS
from core.story.step import Step
from webhooks.finding import Finding, Rule, Severity

MISSPELT: Final = Rule("story/setting-misspelt", "4.9")
UNKNOWN: Final = Rule("story/setting-unknown", "4.9", severity=Severity.WARNING)
UNEVALUATED: Final = Rule("story/message-unevaluated", "4.9", severity=Severity.WARNING)
NO_PAUSE: Final = Rule("story/sleep-without-duration", "4.9", severity=Severity.WARNING)

_WITHOUT_EFFECT: Final = ("message",)
"""Keys that change only what people read."""


def check(placed: Step) -> Iterator[Finding]:
    """Findings about keys that nobody reads, text that nobody evaluates, and a ``sleep`` that does nothing."""
    type_ = str(placed.declared.get("type"))
    known = SETTINGS.get(type_)
    if not known or placed.declared.get("ref") or placed.declared.get("run"):
        return  # of two kinds of work, another rule says which to remove
    parameters: Any = placed.declared.get("with")
    path = f"{placed.place}.with"
    misspelt = False
    if isinstance(parameters, Mapping):
        for finding in _keys(parameters, known, path, type_):
            misspelt = misspelt or finding.rule is MISSPELT
            yield finding
        shown = parameters.get("message") if type_ == "stop" else None
        if isinstance(shown, str) and "{{" in shown:
            yield UNEVALUATED.at(
                f"{path}.message", "is not evaluated: this field does not support templates", "write plain text"
            )
        target, its_keys = parameters.get("storyRef"), known.get("storyRef")
        if isinstance(target, Mapping) and isinstance(its_keys, Mapping):
            yield from _keys(target, its_keys, f"{path}.storyRef", "storyRef")
    if type_ == "sleep" and not misspelt and not (isinstance(parameters, Mapping) and _is_given(parameters)):
        yield NO_PAUSE.at(f"{path}.duration", "is absent, so the step ends at once", "add it, for example 5m")


def _is_given(parameters: Mapping[str, Any]) -> bool:
    duration = parameters.get("duration")
    return bool(duration.strip()) if isinstance(duration, str) else duration is not None


def _keys(given: Mapping[str, Any], known: Collection[str], path: str, of: str) -> Iterator[Finding]:
    for key in given:
        if key in known:
            continue
        meant = closest(str(key), known)
        where = f"{path}.{key}"
        if meant is None:
            yield UNKNOWN.at(where, f"is not read by {of}", f"remove it; {of} reads {', '.join(known)}")
        elif meant in _WITHOUT_EFFECT or meant in given:
            yield UNKNOWN.at(where, f"is not read by {of}", f"did you mean {meant}?")
        else:
            yield MISSPELT.at(where, f"is not read by {of}", f"did you mean {meant}?")
