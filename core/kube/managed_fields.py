"""Parses objects without their ``metadata.managedFields``, which only people read: half of the text, and half to two
thirds of the time of parsing it.

The field is found and replaced in the text. Then the parsed object must have the replacement in its place; if it has
not, the whole text is parsed: a user's data may have a field of this name, too. Pure.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

_NAME: Final = "managedFields"
_BEGIN: Final = b'"managedFields":[{'
_END: Final = b"}]"
"""The first one ends the field. It has no other list, and if this is inside a string, the rest is no JSON."""
_PLACE: Final = b'"managedFields":false'


def parsed_without_managed_fields(text: bytes, parent: str = "") -> tuple[Any, bytes]:
    """The value, and the text that it was parsed from.

    Args:
        parent: the key of the object in ``text``, if it is part of something else.
    Raises:
        orjson.JSONDecodeError
    """
    begin = text.find(_BEGIN)
    end = text.find(_END, begin) if begin >= 0 else -1
    if end >= 0:
        rest = b"".join((text[:begin], _PLACE, text[end + len(_END) :]))
        try:
            value = orjson.loads(rest)
        except orjson.JSONDecodeError:
            pass
        else:
            metadata = _metadata(value, parent)
            if metadata.get(_NAME) is False:
                del metadata[_NAME]
                return value, rest
    value = orjson.loads(text)
    _metadata(value, parent).pop(_NAME, None)
    return value, text


def _metadata(value: Any, parent: str) -> dict[str, Any]:
    for key in (parent, "metadata") if parent else ("metadata",):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
