"""Every key of the operator ConfigMap, as the rows of ``core.policy.settings`` name them, and those without effect.

Source: operator contract 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any, Final, NamedTuple

from core.policy.setting import SettingRow, row_of, rows_within
from core.policy.settings import NAMESPACE_PRIORITY, SECTIONS, OperatorSettings, QueueSettings

CONTROLLER_FIELDS: Final = {
    "storyrun": "story_run",
    "story": "story",
    "engram": "engram_controller",
    "impulse": "impulse_controller",
    "template": "template",
}
"""Prefix of a controller's keys → field of ``OperatorSettings``."""


class ConfigKey(NamedTuple):
    """``path`` leads to a field of ``OperatorSettings``, through at most one group."""

    path: tuple[str, ...]
    row: SettingRow


def _keys() -> Iterator[ConfigKey]:
    """In the order of the page of all settings."""
    own = {each.name: each for each in fields(OperatorSettings)}
    for name in (name for section in SECTIONS for name in section.fields):
        yield from _keys_of(own[name])


def _keys_of(own: Field[Any]) -> Iterator[ConfigKey]:
    if (row := row_of(own)) is not None:
        yield ConfigKey((own.name,), row)
    elif rows := rows_within(own):
        yield from (ConfigKey((own.name, name), row) for name, row in rows.items())
    else:
        members: tuple[Field[Any], ...] = fields(type(own.default))  # type: ignore[arg-type]  # a data class
        yield from (ConfigKey((own.name, each.name), row) for each in members if (row := row_of(each)) is not None)


KEYS: Final[dict[str, ConfigKey]] = {found.row.key: found for found in _keys()}

QUEUE_KEYS: Final = {
    row.key.rpartition(".")[2]: ConfigKey((each.name,), row)
    for each in fields(QueueSettings)
    if (row := row_of(each)) is not None
}
"""Last part of a queue's key → its field of ``QueueSettings``."""

FAMILIES: Final = (*(found.row for found in QUEUE_KEYS.values()), NAMESPACE_PRIORITY)
"""The rows of keys that have a name in them."""

_NOR_IN_THE_REFERENCE: Final = "it has no effect in the Go operator, either"
_NO_CONTROLLER: Final = "StepRuns have no controller of their own"

ACCEPTED_WITHOUT_EFFECT: Final[dict[str, str]] = {
    "controller.cleanup-interval": _NOR_IN_THE_REFERENCE,
    "loop.max-iterations": _NOR_IN_THE_REFERENCE,
    "loop.default-batch-size": _NOR_IN_THE_REFERENCE,
    "loop.max-batch-size": _NOR_IN_THE_REFERENCE,
    "loop.max-concurrency": _NOR_IN_THE_REFERENCE,
    "loop.max-concurrency-limit": _NOR_IN_THE_REFERENCE,
    "streaming.ttl-seconds-after-finished": _NOR_IN_THE_REFERENCE,
    "controller.transport.grpc.enable-downstream-targets": _NOR_IN_THE_REFERENCE,
    "transport.enabled": _NOR_IN_THE_REFERENCE,
    "transport.security-mode": _NOR_IN_THE_REFERENCE,
    "steprun.max-concurrent-reconciles": _NO_CONTROLLER,
    "steprun.rate-limiter.base-delay": _NO_CONTROLLER,
    "steprun.rate-limiter.max-delay": _NO_CONTROLLER,
    "timeout.conditional-default": "a condition is evaluated at once, within `templating.evaluation-timeout`",
    "security.automount-service-account-token": (
        "a batch step reports with the token of its Pod, which always has one; also in the Go operator"
    ),
    "templating.materialize-engram": "the operator or the step reads stored data, never a separate Engram",
}
"""Keys that are accepted with any value and have no effect in this operator, with the reason; a warning names each."""
