"""Names must be DNS labels, so that other objects can refer to them.

The API server accepts any DNS subdomain, such as ``my.run``, but references only allow DNS labels. A run with such a
name could have no StepRun; a Story with such a name could not run. Source: StoryRun contract 1.1; admission contract
3.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.schema import DNS_LABEL
from core.api.text import text
from webhooks.finding import Finding, Rule
from webhooks.validate.change import metadata_of

NAME: Final = Rule("any/name", "3.10")

_REFERRED_TO: Final = ("StoryRun", "Story", "Engram", "Impulse")
_LABEL: Final = re.compile(DNS_LABEL)
_REMEDY: Final = "use lower-case letters, digits and dashes, as in my-run"


def check(new: ReadOnlyObject, old: ReadOnlyObject | None) -> Iterator[Finding]:
    """A finding if a new object has a name that references cannot use; stored objects keep their names."""
    if old is not None or new.get("kind") not in _REFERRED_TO:
        return
    metadata = metadata_of(new)
    name, prefix = text(metadata.get("name")), text(metadata.get("generateName"))
    if prefix and _LABEL.fullmatch(f"{prefix}x") is None:  # the API server has already made the name from it
        yield NAME.at(
            "metadata.generateName",
            f"names with the prefix {prefix!r} cannot be referred to: they are not DNS labels",
            _REMEDY,
        )
    elif name and _LABEL.fullmatch(name) is None:
        yield NAME.at("metadata.name", f"{name!r} cannot be referred to: it is not a DNS label", _REMEDY)
