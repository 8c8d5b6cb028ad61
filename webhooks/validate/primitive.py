"""The ``with`` of primitive steps. Source: admission contract 4.9."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from core.api.objects import ReadOnlyObject
from core.api.phases import Phase
from core.api.text import text
from core.story.step import Step
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import duration, loop

UNTIL: Final = Rule("story/wait-until", "4.9", CauseType.REQUIRED)
WAITING: Final = Rule("story/wait-settings", "4.9")
SLEEP: Final = Rule("story/sleep-duration", "4.9")
STOP: Final = Rule("story/stop-phase", "4.9", severity=Severity.WARNING)
CALL: Final = Rule("story/call-target", "4.9", CauseType.REQUIRED)
CALL_SETTINGS: Final = Rule("story/call-settings", "4.9")
UNUSED_WITH: Final = Rule("story/unused-with", "4.9", severity=Severity.WARNING)

_LEAST_POLL: Final = timedelta(milliseconds=10)
_ON_TIMEOUT: Final = ("", "fail", "skip")
_STOP_WORDS: Final = frozenset({"success", "failure", "cancel", *(phase.value.lower() for phase in Phase)})


def check(placed: Step) -> Iterator[Finding]:
    """Findings about the settings of a primitive; none for an Engram step."""
    type_, parameters, path = placed.declared.get("type"), placed.declared.get("with") or {}, f"{placed.place}.with"
    if type_ == "wait":
        yield from _until(parameters, path)
    if type_ in ("wait", "gate"):
        yield from _waiting(parameters, path)
    elif type_ == "sleep":
        yield from duration.check(SLEEP, parameters, "duration", path)
    elif type_ == "stop":
        phase = parameters.get("phase")
        if "{{" not in text(phase) and phase not in (None, "") and text(phase).lower() not in _STOP_WORDS:
            yield STOP.at(
                f"{path}.phase", "must be a phase in which a run can end", "use Succeeded, Failed or Finished"
            )
    elif type_ == "executeStory":
        yield from _call(parameters, path)
        yield from loop.check_call(parameters, path)
    elif type_ == "parallel":
        yield from loop.check_branches(parameters, path)
    elif type_ == "condition" and parameters:
        yield UNUSED_WITH.at(path, "a condition has no settings", "write the condition into if")


def _until(parameters: ReadOnlyObject, path: str) -> Iterator[Finding]:
    until = parameters.get("until")
    if not text(until):
        yield UNTIL.at(f"{path}.until", "is required and must be a string", "add the condition to wait for")


def _waiting(parameters: ReadOnlyObject, path: str) -> Iterator[Finding]:
    yield from duration.check(WAITING, parameters, "timeout", path)
    yield from duration.check(WAITING, parameters, "pollInterval", path, least=_LEAST_POLL)
    value: Any = parameters.get("onTimeout")
    if value is not None and (not isinstance(value, str) or value.strip().lower() not in _ON_TIMEOUT):
        yield WAITING.at(f"{path}.onTimeout", "must be fail or skip", "use one of these values")


def _call(parameters: ReadOnlyObject, path: str) -> Iterator[Finding]:
    target = parameters.get("storyRef")
    if not isinstance(target, Mapping) or not text(target.get("name")):
        yield CALL.at(f"{path}.storyRef.name", "is required", "name the Story to execute")
    else:
        for key in ("namespace", "version"):
            if not isinstance(target.get(key), str | None):
                yield CALL_SETTINGS.at(f"{path}.storyRef.{key}", "must be a string", "put it in quotes")
    if not isinstance(parameters.get("waitForCompletion"), bool | None):
        yield CALL_SETTINGS.at(f"{path}.waitForCompletion", "must be true or false", "write it without quotes")
    if not isinstance(parameters.get("with"), dict | None):
        yield CALL_SETTINGS.at(f"{path}.with", "must be an object", "write key: value pairs")
