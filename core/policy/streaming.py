"""The settings of one realtime step's stream: those of its Transport, and over them those of the Story. Pure.

Both sides are merged as they were written. A default is the meaning of a field that is absent from the result, so a
Story that says nothing about a field leaves the Transport's value in force (in the reference, defaults are applied to
each side first, and those of the Story win). Source: streaming contract 4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.api.resource import TRANSPORT
from core.api.text import text
from core.policy.stream_problems import settings_problems, stream_problems

STREAMING_FIELDS: Final = (
    "backpressure",
    "delivery",
    "fanIn",
    "flowControl",
    "lanes",
    "lifecycle",
    "observability",
    "partitioning",
    "recording",
    "routing",
)
"""The fields of ``core.api.streaming.Streaming``: at top level of the merged settings, beside those of the provider."""
CHANNEL_BUFFER: Final = 64
"""Messages that the SDK of a realtime step holds at least. The Go SDK drops receipts beyond its buffer, so no more
messages may be under way to a step without a receipt."""
CHANNEL_BUFFER_VARIABLE: Final = "BUBU_GRPC_CHANNEL_BUFFER_SIZE"

_PLACE: Final = "spec.streaming"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class RolloutStrategy(StrEnum):
    """``lifecycle.strategy``."""

    ROLLING = "rolling"
    DRAIN_CUTOVER = "drain_cutover"
    BLUE_GREEN = "blue_green"


def merged_settings(transport_spec: ReadOnlyObject, declared: ReadOnlyObject) -> dict[str, Any]:
    """The settings of a step whose Story declares its transport as ``declared``, an entry of ``spec.transports``.

    Objects are merged, other values and lists replaced.

    >>> merged_settings({"streaming": {"routing": {"maxDownstreams": 8}}}, {"streaming": {"routing": {"mode": "hub"}}})
    {'routing': {'maxDownstreams': 8, 'mode': 'hub'}}
    """
    base = _merged(_object(transport_spec.get("defaultSettings")), _object(transport_spec.get("streaming")))
    over = _merged(_object(declared.get("settings")), _object(declared.get("streaming")))
    return _merged(base, over)


def merged_problems(settings: ReadOnlyObject) -> list[FieldError]:
    """All errors of merged settings; ``path`` begins at their top level.

    Each side was checked by admission, if that was up. Together they may still contradict each other, and settings of a
    provider may have the name of a stream setting.
    """
    from core.api import manifest  # it builds the models of all kinds, which takes a third of a second

    streaming = {field: settings[field] for field in STREAMING_FIELDS if field in settings}
    spec = {"provider": "any", "driver": "any", "streaming": streaming}
    document = {"apiVersion": TRANSPORT.api_version, "kind": TRANSPORT.kind, "metadata": {"name": "any"}, "spec": spec}
    found = manifest.errors_of(document)
    found = found or [error for _, error in stream_problems(streaming, _PLACE)]
    found += [error for _, error in settings_problems(settings, _PLACE)]
    found += _variable_problems(settings)
    return [_at_top_level(error) for error in found]


def variables_of(settings: ReadOnlyObject) -> dict[str, str]:
    """The variables that ``env`` of merged settings without problems sets, ordered by name."""
    return dict(sorted(_object(settings.get("env")).items()))


def channel_buffer(settings: ReadOnlyObject, configured: int) -> int:
    """The number of messages that the SDK of the step holds; ``configured`` is the operator's setting for all steps."""
    wanted = variables_of(settings).get(CHANNEL_BUFFER_VARIABLE, "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else max(configured, CHANNEL_BUFFER)


def rollout_strategy(settings: ReadOnlyObject) -> RolloutStrategy | None:
    """``lifecycle.strategy`` of merged settings without problems; None: Kubernetes decides."""
    word = _object(settings.get("lifecycle")).get("strategy")
    return RolloutStrategy(word) if word else None


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        if value is None:
            continue
        merged[key] = _merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return merged


def _variable_problems(settings: ReadOnlyObject) -> list[FieldError]:
    found = []
    environment = settings.get("env")
    for name, value in environment.items() if isinstance(environment, Mapping) else ():
        path = f"{_PLACE}.env.{name}"
        if not _VARIABLE.fullmatch(name):
            found.append(FieldError(path, "is not the name of a variable", "use letters, digits and _"))
        elif not isinstance(value, str):
            found.append(FieldError(path, "must be a string", "put the value in quotes"))
    return found


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _at_top_level(error: FieldError) -> FieldError:
    path = error.path.removeprefix(_PLACE).removeprefix(".")
    return FieldError(path or "settings", text(error.message), error.remedy, error.excerpt, is_unknown=error.is_unknown)
