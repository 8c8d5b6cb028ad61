"""Whether a process answers admission reviews. Source: operator contract 1.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core.telemetry.logs import get_logger
from manager.goflags import boolean

VARIABLE: Final = "ENABLE_WEBHOOKS"


def webhooks_enabled(environ: Mapping[str, str]) -> bool:
    """True, unless the variable is false; a value that is not a boolean is logged and ignored."""
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return True
    try:
        return boolean(VARIABLE, text)
    except ValueError:
        get_logger("setup").error("must be a boolean; the value is ignored", variable=VARIABLE, value=text)
        return True
