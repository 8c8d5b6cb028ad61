"""What is wrong with a Transport, and whether it can serve a binding. Pure.

One list for admission and for the status of the Transport. Source: streaming contract 2 and 5.2, admission contract 12
and 13.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final, TypeAlias

from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.api.text import text
from core.policy.stream_problems import settings_problems, stream_problems

OFFERS: Final = ("supportedAudio", "supportedVideo", "supportedBinary")
_LANES: Final = (
    ("audio", "codecs", "supportedAudio"),
    ("video", "codecs", "supportedVideo"),
    ("binary", "mimeTypes", "supportedBinary"),
)


class TransportProblem(StrEnum):
    """The kind of a problem; the values are the names of the rules of admission."""

    DRIVER = "transport/driver"
    CAPABILITY = "transport/capability"
    OFFER_TAKEN = "transport/offer-taken"
    RATE = "transport/rate"
    MIME_TYPE = "transport/mime-type"


Problems: TypeAlias = Iterator[tuple[TransportProblem, FieldError]]


def transport_problems(spec: ReadOnlyObject) -> Problems:
    """Why the Transport cannot be used, without its streaming settings; ``spec`` matches its schema."""
    if not text(spec.get("driver")):
        yield TransportProblem.DRIVER, FieldError("spec.driver", "must not be blank", "name the driver")
    if not any(spec.get(key) for key in OFFERS):
        remedy = f"give at least one of {', '.join(OFFERS)}"
        yield TransportProblem.CAPABILITY, FieldError("spec", "supports no kind of data", remedy)
    for index, codec in enumerate(spec.get("supportedAudio") or ()):
        for key in ("sampleRateHz", "channels"):
            if (codec.get(key) or 0) < 0:
                where = f"spec.supportedAudio[{index}].{key}"
                yield TransportProblem.RATE, FieldError(where, "must be zero or more", "use 0 for any")
    for index, mime_type in enumerate(spec.get("supportedBinary") or ()):
        if "/" not in text(mime_type):
            where, message = f"spec.supportedBinary[{index}]", f"{mime_type!r} is not a MIME type"
            yield TransportProblem.MIME_TYPE, FieldError(where, message, "write for example application/json")
    yield from _twice(spec)


def why_unusable(spec: ReadOnlyObject) -> list[FieldError]:
    """All errors of a Transport's spec, which matches its schema."""
    found = [error for _, error in transport_problems(spec)]
    found += [error for _, error in stream_problems(spec.get("streaming") or {}, "spec.streaming")]
    found += [error for _, error in settings_problems(spec.get("defaultSettings"), "spec.defaultSettings")]
    return found


def unsupported(binding: ReadOnlyObject, transport: ReadOnlyObject, of: object) -> list[FieldError]:
    """What a TransportBinding asks for and its Transport does not offer; both are specs.

    ``path`` names the field of the binding; ``remedy`` says what the Transport ``of`` supports.
    """
    found = []
    for lane, key, offer_key in _LANES:
        offers = transport.get(offer_key) or ()
        for index, wish in enumerate((binding.get(lane) or {}).get(key) or ()):
            if not any(_matches(wish, offer) for offer in offers):
                known = ", ".join(_name(offer) for offer in offers) or "none"
                where, message = f"spec.{lane}.{key}[{index}]", f"{_name(wish)} is not supported by {of}"
                found.append(FieldError(where, message, f"it supports: {known}"))
    return found


def _twice(spec: ReadOnlyObject) -> Problems:
    """Duplicate offers; offers that matching can distinguish are not duplicates."""
    seen: dict[tuple[str, ...], str] = {}
    for kind in OFFERS:
        for index, offer in enumerate(spec.get(kind) or ()):
            path = f"spec.{kind}[{index}]"
            first = seen.setdefault((kind, *_identity(offer)), path)
            if first != path and any(_identity(offer)):
                field = path if isinstance(offer, str) else f"{path}.name"
                yield TransportProblem.OFFER_TAKEN, FieldError(field, f"is already offered by {first}", "remove it")


def _identity(offer: ReadOnlyObject | str) -> tuple[str, ...]:
    if isinstance(offer, str):
        return (offer.strip().lower(),)
    numbers = (str(offer.get(key) or "") for key in ("sampleRateHz", "channels"))
    return (text(offer.get("name")).lower(), *numbers, text(offer.get("profile")).lower())


def _matches(wish: Any, offer: Any) -> bool:
    if isinstance(wish, str) or isinstance(offer, str):
        return text(wish).lower() == text(offer).lower()
    if text(wish.get("name")).lower() != text(offer.get("name")).lower():
        return False
    numbers = all(not wish.get(key) or wish[key] == offer.get(key) for key in ("sampleRateHz", "channels"))
    profile = text(wish.get("profile")).lower()
    return numbers and (not profile or profile == text(offer.get("profile")).lower())


def _name(item: Any) -> str:
    if isinstance(item, str):
        return item.strip()
    details = [
        f"{item[key]} {unit}" for key, unit in (("sampleRateHz", "Hz"), ("channels", "channels")) if item.get(key)
    ]
    details += [text(item["profile"])] if text(item.get("profile")) else []
    return text(item.get("name")) + (f" ({', '.join(details)})" if details else "")
