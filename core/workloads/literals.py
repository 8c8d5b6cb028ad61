"""Data that stays unchanged when a program evaluates it as templates. Pure.

SDKs evaluate ``BUBU_STEP_CONFIG`` even when inputs must not be evaluated, and they must not treat data of people and
other systems as a template. Source: templating contract 2 and 6.3, in the improved form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bubu_contract.references import STORAGE_KEYS, STORAGE_REFERENCE

_OPENING: Final = "{{"
_SPELLED: Final = '{{ "{{" }}'
"""An action whose result is the opening braces. It stands beside other text, so its result is never read as JSON."""


def as_literals(value: Any) -> Any:
    """``value``, with its strings written as templates that evaluate to them; most need no change."""
    match value:
        case str():
            return value.replace(_OPENING, _SPELLED)
        case Mapping():
            kept = STORAGE_KEYS if isinstance(value.get(STORAGE_REFERENCE), str) else ()  # SDKs follow it as it is
            return {key: child if key in kept else as_literals(child) for key, child in value.items()}
        case list():
            return [as_literals(child) for child in value]
        case _:
            return value
