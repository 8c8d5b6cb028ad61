"""Rules for a Transport beyond its schema. Source: admission contract 12."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from webhooks.cluster_view import ClusterView
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import change, schema, streaming
from webhooks.validate.change import text

DRIVER: Final = Rule("transport/driver", "12.1", CauseType.REQUIRED)
CAPABILITY: Final = Rule("transport/capability", "12.1")
OFFER_TAKEN: Final = Rule("transport/offer-taken", "12.1", CauseType.DUPLICATE)
RATE: Final = Rule("transport/rate", "12.1")
MIME_TYPE: Final = Rule("transport/mime-type", "12.1")
SCHEMA: Final = Rule("transport/schema", "12.1", severity=Severity.WARNING)

_OFFERS: Final = ("supportedAudio", "supportedVideo", "supportedBinary")


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in a Transport that matches its schema; none if it is being deleted or its spec is unchanged."""
    if change.is_deleted(new) or (old is not None and not change.is_spec_changed(new, old)):
        return []
    return list(_findings(new["spec"]))


def _findings(spec: ReadOnlyObject) -> Iterator[Finding]:
    if not text(spec.get("driver")):
        yield DRIVER.at("spec.driver", "must not be blank", "name the driver")
    if not any(spec.get(key) for key in _OFFERS):
        yield CAPABILITY.at("spec", "supports no kind of data", f"give at least one of {', '.join(_OFFERS)}")
    for index, codec in enumerate(spec.get("supportedAudio") or ()):
        for key in ("sampleRateHz", "channels"):
            if (codec.get(key) or 0) < 0:
                yield RATE.at(f"spec.supportedAudio[{index}].{key}", "must be zero or more", "use 0 for any")
    for index, mime_type in enumerate(spec.get("supportedBinary") or ()):
        if "/" not in text(mime_type):
            path = f"spec.supportedBinary[{index}]"
            yield MIME_TYPE.at(path, f"{mime_type!r} is not a MIME type", "write for example application/json")
    yield from _twice(spec)
    yield from streaming.check(spec.get("streaming") or {}, "spec.streaming")
    yield from streaming.check_settings(spec.get("defaultSettings"), "spec.defaultSettings")
    yield from schema.check_schema(SCHEMA, spec.get("configSchema"), "spec.configSchema")


def _twice(spec: ReadOnlyObject) -> Iterator[Finding]:
    """Findings about duplicate offers; offers that matching can distinguish are not duplicates."""
    seen: dict[tuple[str, ...], str] = {}
    for kind in _OFFERS:
        for index, offer in enumerate(spec.get(kind) or ()):
            path = f"spec.{kind}[{index}]"
            first = seen.setdefault((kind, *_identity(offer)), path)
            if first != path and any(_identity(offer)):
                field = path if isinstance(offer, str) else f"{path}.name"
                yield OFFER_TAKEN.at(field, f"is already offered by {first}", "remove it")


def _identity(offer: ReadOnlyObject | str) -> tuple[str, ...]:
    if isinstance(offer, str):
        return (offer.strip().lower(),)
    numbers = (str(offer.get(key) or "") for key in ("sampleRateHz", "channels"))
    return (text(offer.get("name")).lower(), *numbers, text(offer.get("profile")).lower())
