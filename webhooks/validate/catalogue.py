"""All rules, collected from the modules that declare them."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from webhooks.finding import Rule
from webhooks.validate import (
    admission,
    author,
    call,
    carrier,
    data,
    dependency,
    effectclaim,
    engram,
    expression,
    floor,
    grant,
    impulse,
    loop,
    naming,
    plain_container,
    pod,
    primitive,
    rights,
    scheduling,
    schema,
    script,
    setting,
    status,
    steprun,
    steps,
    story,
    storyrun,
    storytrigger,
    strategy,
    streaming,
    submission,
    template,
    template_use,
    transport,
    transportbinding,
    variable,
    warm,
    worker,
)

_MODULES: Final[tuple[ModuleType, ...]] = (
    admission,
    naming,
    schema,
    story,
    steps,
    primitive,
    setting,
    loop,
    dependency,
    expression,
    data,
    worker,
    script,
    call,
    carrier,
    strategy,
    streaming,
    template_use,
    rights,
    floor,
    pod,
    warm,
    variable,
    plain_container,
    scheduling,
    engram,
    impulse,
    template,
    submission,
    storyrun,
    storytrigger,
    steprun,
    effectclaim,
    transport,
    transportbinding,
    grant,
    author,
    status,
)

RULES: Final[tuple[Rule, ...]] = tuple(
    value for module in _MODULES for value in vars(module).values() if isinstance(value, Rule)
)
"""All rules in reading order: shared rules first, then those of each kind."""
