"""String formats of schemas, checked as the API server checks them; unknown formats accept anything.

Source: the formats that CustomResourceDefinition v1 documents as enforced.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime
from urllib.parse import urlsplit

_DATE_TIME = (
    r"\d{4}-\d{2}-\d{2}[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
)
_EMAIL = r"(?:[^<>@\s]+ ?)*<?[^<>@\s,;]+@[^<>@\s,;]+>?"
_HOSTNAME = (
    r"[a-zA-Z0-9\u00a1-\uffff](?:[a-zA-Z0-9\u00a1-\uffff-]{0,61}[a-zA-Z0-9\u00a1-\uffff])?"
    r"(?:\.[a-zA-Z0-9\u00a1-\uffff](?:[a-zA-Z0-9\u00a1-\uffff-]{0,61}[a-zA-Z0-9\u00a1-\uffff])?)*\.?"
)
_UUID = r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?%s[0-9a-fA-F]{3}-?%s[0-9a-fA-F]{3}-?[0-9a-fA-F]{12}"
_GO_DURATION = r"[+-]?(?:0|(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)"
_WORD_DURATION = (
    r"\d+\s*(?:ns|nanos?|nanoseconds?|us|µs|micros?|microseconds?|ms|millis?|milliseconds?|s|secs?|seconds?"
    r"|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|wks?|weeks?)"
)
_HEX_COLOR = r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"
_RGB_COLOR = r"rgb\(\s*(?:25[0-5]|2[0-4]\d|1?\d?\d)\s*(?:,\s*(?:25[0-5]|2[0-4]\d|1?\d?\d)\s*){2}\)"
_MAC = r"[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5,19}|[0-9a-fA-F]{4}(?:\.[0-9a-fA-F]{4}){2,9}"
_SHORT_NAME = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_LONG_NAME = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
_SSN = r"\d{3}[- ]?\d{2}[- ]?\d{4}"
_CREDIT_CARD = r"\d{13,19}"


def _matching(pattern: str) -> Callable[[str], bool]:
    """Compiled when a schema first has the format: that of host names takes a thirtieth of a second."""
    return lambda text: re.fullmatch(pattern, text) is not None


def _is_date_time(text: str) -> bool:
    if not re.fullmatch(_DATE_TIME, text):
        return False
    return _is_date(text[:10])


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_time(text: str) -> bool:
    try:
        datetime.strptime(text, "%H:%M:%S")  # noqa: DTZ007 - only the shape matters
    except ValueError:
        return False
    return True


def _is_ip(version: int | None) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        return version is None or address.version == version

    return check


def _is_cidr(text: str) -> bool:
    if "/" not in text:
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _is_duration(text: str) -> bool:
    stripped = text.strip()
    return (
        re.fullmatch(_GO_DURATION, stripped) is not None or re.fullmatch(_WORD_DURATION, stripped.lower()) is not None
    )


def _is_object_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{24}", text) is not None


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _is_object_id,
    "byte": _is_base64,
    "cidr": _is_cidr,
    "creditcard": _matching(_CREDIT_CARD),
    "date": _is_date,
    "date-time": _is_date_time,
    "datetime": _is_date_time,
    "duration": _is_duration,
    "email": _matching(_EMAIL),
    "hexcolor": _matching(_HEX_COLOR),
    "hostname": lambda text: len(text) <= 255 and re.fullmatch(_HOSTNAME, text) is not None,
    "ipv4": _is_ip(4),
    "ipv6": _is_ip(6),
    "isbn": lambda text: len(re.sub(r"[- ]", "", text)) in (10, 13),
    "isbn10": lambda text: len(re.sub(r"[- ]", "", text)) == 10,
    "isbn13": lambda text: len(re.sub(r"[- ]", "", text)) == 13,
    "k8s-long-name": lambda text: len(text) <= 253 and re.fullmatch(_LONG_NAME, text) is not None,
    "k8s-short-name": lambda text: len(text) <= 63 and re.fullmatch(_SHORT_NAME, text) is not None,
    "mac": _matching(_MAC),
    "rgbcolor": _matching(_RGB_COLOR),
    "ssn": _matching(_SSN),
    "uri": _is_uri,
    "uuid": _matching(_UUID % ("[0-9a-fA-F]", "[0-9a-fA-F]")),
    "uuid3": _matching(_UUID % ("3", "[0-9a-fA-F]")),
    "uuid4": _matching(_UUID % ("4", "[89abAB]")),
    "uuid5": _matching(_UUID % ("5", "[89abAB]")),
}
"""The check of each format; a format that is not listed here is documentation only."""
