"""The operator ConfigMap → settings.

Every value is checked, and all problems are reported together, each with its key and the accepted values. A ConfigMap
with an error changes nothing: the caller keeps its last valid snapshot. Unknown keys, and keys without effect in this
operator, are accepted and reported as warnings.
Source: operator contract 2 and 3; unlike the reference, a bad value is never silently ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import starmap
from typing import Any, Final

from bubu_contract.durations import format_duration
from core.api.suggestion import closest
from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, CONTROLLER_FIELDS, KEYS, QUEUE_KEYS
from core.policy.settings import (
    FALLBACK_RETENTION_SECONDS,
    NAMESPACE_PRIORITY,
    ControllerSettings,
    OperatorSettings,
    QueueSettings,
)
from core.policy.storage_checks import storage_problems

_QUEUE_PREFIX: Final = "storyrun.queue."
_NAMESPACE_PREFIX: Final = "storyrun.namespace."
_RETENTION: Final = "storyrun.retention-seconds"
_MAX_PRIORITY: Final = "max-priority"
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """A key of the ConfigMap, and its problem."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


@dataclass(frozen=True, slots=True)
class ParsedConfig:
    """``settings`` is None exactly when there are errors."""

    settings: OperatorSettings | None
    errors: tuple[ConfigProblem, ...]
    warnings: tuple[ConfigProblem, ...]


def parse_config(data: Mapping[str, str]) -> ParsedConfig:
    """Read a ConfigMap's ``data``; absent keys get their built-in values."""
    settings = OperatorSettings()
    errors: list[ConfigProblem] = []
    warnings: list[ConfigProblem] = []
    for key, text in sorted(data.items()):
        known = KEYS.get(key)
        try:
            if known is not None:
                settings = _with_value(settings, known.path, known.row.read(text.strip()))
            elif key.startswith(_QUEUE_PREFIX):
                settings = _with_queue(settings, key, text.strip())
            elif key.startswith(_NAMESPACE_PREFIX):
                settings = _with_namespace(settings, key, text.strip())
            elif key in ACCEPTED_WITHOUT_EFFECT:
                warnings.append(ConfigProblem(key, f"is accepted without effect: {ACCEPTED_WITHOUT_EFFECT[key]}"))
            else:
                warnings.append(ConfigProblem(key, _unknown(key)))
        except ValueError as error:
            errors.append(ConfigProblem(key, str(error)))
    errors += _contradictions(settings)
    warnings += _outlasted(settings)
    if errors:
        return ParsedConfig(None, tuple(errors), tuple(warnings))
    return ParsedConfig(_with_fallbacks(settings), (), tuple(warnings))


def _with_value(settings: OperatorSettings, path: tuple[str, ...], value: Any) -> OperatorSettings:
    if len(path) == 1:
        return replace(settings, **{path[0]: value})
    group = getattr(settings, path[0])
    return replace(settings, **{path[0]: replace(group, **{path[1]: value})})


def _with_queue(settings: OperatorSettings, key: str, text: str) -> OperatorSettings:
    """``storyrun.queue.<name>.<field>``: split at the first dot, so a name contains no dot."""
    name, _, field_name = key.removeprefix(_QUEUE_PREFIX).partition(".")
    name = name.strip().lower()
    if not _DNS_LABEL.fullmatch(name):
        raise ValueError(f"queue name {name!r} must be a DNS-1123 label of at most 63 characters")
    if (known := QUEUE_KEYS.get(field_name)) is None:
        raise ValueError(f"unknown queue field {field_name!r}; use {', '.join(QUEUE_KEYS)}")
    queues = settings.runs.queues
    queue = replace(queues.get(name, QueueSettings()), **{known.path[0]: known.row.read(text)})
    return replace(settings, runs=replace(settings.runs, queues={**queues, name: queue}))


def _with_namespace(settings: OperatorSettings, key: str, text: str) -> OperatorSettings:
    """``storyrun.namespace.<name>.max-priority``."""
    name, _, field_name = key.removeprefix(_NAMESPACE_PREFIX).partition(".")
    if not _DNS_LABEL.fullmatch(name):
        raise ValueError(f"{name!r} is not a namespace; use a DNS-1123 label of at most 63 characters")
    if field_name != _MAX_PRIORITY:
        raise ValueError(f"unknown field {field_name!r} of a namespace; use {_MAX_PRIORITY}")
    bounds = {**settings.runs.max_priorities, name: NAMESPACE_PRIORITY.read(text)}
    return replace(settings, runs=replace(settings.runs, max_priorities=bounds))


def _unknown(key: str) -> str:
    meant = closest(key, KEYS)
    hint = f"; did you mean {meant}?" if meant else "; remove it or check its spelling"
    return f"is not a setting of this operator{hint}"


def _contradictions(settings: OperatorSettings) -> Iterator[ConfigProblem]:
    """Problems that involve more than one key."""
    yield from starmap(ConfigProblem, storage_problems(settings.storage))
    yield from _delay_problem("controller.requeue-base-delay", settings.controllers)
    for prefix, field in CONTROLLER_FIELDS.items():
        yield from _delay_problem(f"{prefix}.rate-limiter.base-delay", getattr(settings, field))


def _outlasted(settings: OperatorSettings) -> Iterator[ConfigProblem]:
    """A time for runs that is shorter than that for their StepRuns, which a run outlives (``retention.act_after``)."""
    own = settings.runs.retention_seconds
    kept = FALLBACK_RETENTION_SECONDS if own is None else own
    times = {
        "job.ttl-seconds-after-finished": ("batch", settings.job.ttl_seconds_after_finished),
        "realtime.ttl-seconds-after-finished": ("realtime", settings.runs.realtime_ttl_seconds),
    }
    found = [
        f"{pattern} runs are kept for {seconds} s, as their StepRuns are (lower {key})"
        for key, (pattern, seconds) in times.items()
        if seconds is not None and 0 < kept < seconds
    ]
    if found:
        yield ConfigProblem(_RETENTION, f"is {kept}, but {'; '.join(found)}")


def _delay_problem(key: str, controller: ControllerSettings) -> Iterator[ConfigProblem]:
    base, longest = controller.base_delay, controller.max_delay
    if timedelta() < longest < base:
        message = f"is {format_duration(base)} but must be at most its max-delay, {format_duration(longest)}"
        yield ConfigProblem(key, message)


def _with_fallbacks(settings: OperatorSettings) -> OperatorSettings:
    """In a controller, zero means the common value; a common value that is not set means the built-in one."""
    common, built_in = settings.controllers, OperatorSettings()
    effective: dict[str, Any] = {}
    for field in CONTROLLER_FIELDS.values():
        own, default = getattr(settings, field), getattr(built_in, field)
        base = own.base_delay or common.base_delay or default.base_delay
        effective[field] = ControllerSettings(
            max_concurrent_reconciles=own.max_concurrent_reconciles or common.max_concurrent_reconciles,
            base_delay=base,
            max_delay=max(own.max_delay or common.max_delay or default.max_delay, base),
        )
    return replace(settings, **effective)
