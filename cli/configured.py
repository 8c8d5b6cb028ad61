"""The operator's settings as ``bobrapet config`` shows them: a row for each key. Pure.

What a key means, its bounds and when a change applies come from ``core.policy.settings``.
Source: operator contract 2 and 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from core.api.suggestion import closest
from core.policy.config import ParsedConfig, parse_config
from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, FAMILIES, KEYS, QUEUE_KEYS
from core.policy.setting import Counts, SettingRow
from core.policy.settings import NAMESPACE_PRIORITY, OperatorSettings, QueueSettings
from deployment.setting_values import USED_WHEN_UNSET, queue_values, value_of

_DEFAULT_QUEUE: Final = "default"
_HUB_ENDPOINT: Final = "controller.transport.hub-endpoint"
_HUB_FLAG: Final = "--hub-endpoint"
_REGION: Final = "controller.storage.s3.region"
_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_SEE: Final = re.compile(r" See \[[^\]]+\]\([^)]*\)\.")
_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]*\)")


class SettingSource(StrEnum):
    """Where the value of a key comes from; the values are the words of the output."""

    DEFAULT = "default"
    CONFIG_MAP = "ConfigMap"
    FLAG = "flag"
    ENVIRONMENT = "environment"


class ChangeNeed(StrEnum):
    """What a change needs to take effect."""

    NOTHING = "live"
    NEW_CONTAINERS = "new containers"
    RESTART = "restart"
    NO_EFFECT = "no effect"


_NEEDS: Final = {
    Counts.LIVE: ChangeNeed.NOTHING,
    Counts.NEW_CONTAINERS: ChangeNeed.NEW_CONTAINERS,
    Counts.START: ChangeNeed.RESTART,
}


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One key. ``value`` and ``default`` are text as in a ConfigMap; None: not set.

    A value with an ``error`` is not in force.
    """

    key: str
    value: str | None
    default: str | None
    source: SettingSource
    need: ChangeNeed
    does: str = ""
    accepted: str = ""
    """The kind of its values, and their bounds."""
    error: str = ""
    """Why its value is refused."""
    warning: str = ""
    """Why the key or its value has no effect."""

    @property
    def is_changed(self) -> bool:
        """Whether it has another value than its default, or there is something to say about it."""
        return self.value != self.default or bool(self.error or self.warning)


@dataclass(frozen=True, slots=True)
class Configuration:
    rows: tuple[ConfigRow, ...]
    is_refused: bool
    """Whether the operator refuses the ConfigMap and keeps the settings that it had."""


@dataclass(frozen=True, slots=True)
class OperatorProcess:
    """How the operator was started, as far as it decides about settings."""

    arguments: Sequence[str] = ()
    environment: Mapping[str, str] | None = None

    def flag(self, name: str) -> str:
        found = [each.partition("=")[2] for each in self.arguments if each.startswith(f"{name}=")]
        return found[-1] if found else ""


def configuration_of(data: Mapping[str, str], process: OperatorProcess | None = None) -> Configuration:
    """A row for each key of this version, for each queue and namespace that has a key, and for each other key of
    ``data``.
    """
    parsed = parse_config(data)
    errors = {each.key: each.message for each in parsed.errors}
    settings = _settings_without(data, parsed)
    rows = [_started_with(row, process or OperatorProcess()) for row in _known_rows(data, settings)]
    rows += _family_rows(data, settings)
    rows = [_refused(row, errors[row.key], data) if row.key in errors else row for row in rows]
    shown = {row.key for row in rows}
    warnings = {each.key: each.message for each in parsed.warnings}
    rows = [replace(row, warning=warnings.get(row.key, "")) for row in rows]
    rows += [_other_row(key, data[key], errors, warnings) for key in sorted(data) if key not in shown]
    rows += [_other_row(key, None, errors, warnings) for key in sorted(errors) if key not in {*shown, *data}]
    return Configuration(tuple(rows), is_refused=parsed.settings is None)


def chosen(rows: Sequence[ConfigRow], wanted: Sequence[str], *, changed: bool) -> tuple[list[ConfigRow], list[str]]:
    """The rows of the wanted keys, and a message for each wanted key that does not exist.

    A key with a dot at its end means all keys below it.
    """
    by_key = {row.key: row for row in rows}
    missing, found = [], dict[str, ConfigRow]()
    for word in wanted:
        below = {key: row for key, row in by_key.items() if word.endswith(".") and key.startswith(word)}
        if word in by_key:
            found[word] = by_key[word]
        elif below:
            found |= below
        elif word in ACCEPTED_WITHOUT_EFFECT:
            found[word] = _other_row(word, None, {}, {})
        elif (family := _family_row(word)) is not None:
            found[word] = family
        else:
            nearest = closest(word, [*by_key, *ACCEPTED_WITHOUT_EFFECT])
            missing.append(f"{word}: no such key" + (f"; did you mean {nearest}?" if nearest else ""))
    shown = list(found.values()) if wanted else list(rows)
    return [row for row in shown if row.is_changed] if changed else shown, missing


def plain(markdown: str) -> str:
    """The text of a description of the settings page, for a terminal."""
    return _LINK.sub(r"\1", _SEE.sub("", markdown)).replace("`", "")


def _refused(row: ConfigRow, error: str, data: Mapping[str, str]) -> ConfigRow:
    """The row with the value that is refused."""
    return replace(row, value=data.get(row.key, row.value), error=error)


def _settings_without(data: Mapping[str, str], parsed: ParsedConfig) -> OperatorSettings:
    """The settings of all keys that are valid: a refused key is shown beside the values of the others."""
    kept = dict(data)
    while parsed.settings is None:
        bad = {each.key for each in parsed.errors}
        fewer = {key: value for key, value in kept.items() if key not in bad}
        if len(fewer) == len(kept):  # a key is missing that others require
            return OperatorSettings()
        kept, parsed = fewer, parse_config(fewer)
    return parsed.settings


def _known_rows(data: Mapping[str, str], settings: OperatorSettings) -> Iterator[ConfigRow]:
    built_in = OperatorSettings()
    for key, known in KEYS.items():
        value, default = value_of(settings, key), value_of(built_in, key)
        yield _row(
            known.row,
            key,
            data[key].strip() if key in data and value is None else value if value is not None else _unset(key),
            default if default is not None else _unset(key),
            key in data,
        )


def _unset(key: str) -> str | None:
    return USED_WHEN_UNSET.get(key)


def _row(row: SettingRow, key: str, value: str | None, default: str | None, is_set: bool) -> ConfigRow:
    accepted = ", ".join(part for part in (row.read.kind, plain(row.read.accepted)) if part)
    source = SettingSource.CONFIG_MAP if is_set else SettingSource.DEFAULT
    return ConfigRow(key, value, default, source, _NEEDS[row.counts], plain(row.does), accepted)


def _started_with(row: ConfigRow, process: OperatorProcess) -> ConfigRow:
    """The row with the value of a flag or variable, which applies while the key is empty."""
    if row.value:
        return row
    if row.key == _HUB_ENDPOINT and (endpoint := process.flag(_HUB_FLAG)):
        return replace(row, value=endpoint, source=SettingSource.FLAG)
    if row.key == _REGION:
        there = process.environment or {}
        region = next((there[name] for name in _REGION_VARIABLES if there.get(name)), "")
        return replace(row, value=region, source=SettingSource.ENVIRONMENT) if region else row
    return row


def _family_rows(data: Mapping[str, str], settings: OperatorSettings) -> Iterator[ConfigRow]:
    names = dict.fromkeys((_DEFAULT_QUEUE, *settings.runs.queues))
    defaults = queue_values(QueueSettings())
    for name in names:
        values = queue_values(settings.runs.queues.get(name, QueueSettings()))
        for field, value in values.items():
            key = f"storyrun.queue.{name}.{field}"
            yield _row(QUEUE_KEYS[field].row, key, value, defaults[field], key in data)
    for name, highest in settings.runs.max_priorities.items():
        key = f"storyrun.namespace.{name}.max-priority"
        yield _row(NAMESPACE_PRIORITY, key, str(highest), None, key in data)


def _family_row(key: str) -> ConfigRow | None:
    """A key of a queue or namespace that has none yet."""
    for row in FAMILIES:
        head, _, tail = row.key.partition("<name>")
        name = key.removeprefix(head).removesuffix(tail)
        if key.startswith(head) and key.endswith(tail) and name and "." not in name:
            default = queue_values(QueueSettings()).get(tail[1:]) if "queue" in head else None
            return _row(row, key, default, default, False)
    return None


def _other_row(key: str, value: str | None, errors: Mapping[str, str], warnings: Mapping[str, str]) -> ConfigRow:
    """A key that this operator does not have, or that has no effect."""
    why = ACCEPTED_WITHOUT_EFFECT.get(key, "")
    source = SettingSource.DEFAULT if value is None else SettingSource.CONFIG_MAP
    warning = f"is accepted without effect: {plain(why)}" if why else warnings.get(key, "")
    return ConfigRow(key, value, None, source, ChangeNeed.NO_EFFECT, error=errors.get(key, ""), warning=warning)
