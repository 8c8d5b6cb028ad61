"""Data that whoever evaluates it as templates gets back as it is. Pure.

SDKs evaluate ``BUBU_STEP_CONFIG`` whatever they are told about the inputs, and what people and other systems have put
into a run must not be read as a template by them. Source: templating contract 2 and 6.3, in the improved form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.api.reference_keys import STORAGE_KEYS, STORAGE_REFERENCE

_OPENING: Final = "{{"
_SPELLED: Final = '{{ "{{" }}'
"""An action that gives the opening braces. Beside it stands text, so its result is never read as JSON."""


def as_literals(value: Any) -> Any:
    """``value`` with its texts spelled as templates that give just them; most are spelled as they are."""
    match value:
        case str():
            return value.replace(_OPENING, _SPELLED)
        case Mapping():
            kept = STORAGE_KEYS if isinstance(value.get(STORAGE_REFERENCE), str) else ()  # it is followed as it stands
            return {key: child if key in kept else as_literals(child) for key, child in value.items()}
        case list():
            return [as_literals(child) for child in value]
        case _:
            return value
