"""The words that Kubernetes reads as booleans in YAML: those of YAML 1.1, which include ``yes``, ``on`` and ``n``.

kubectl, Helm and API servers read them so, keys included; a YAML 1.2 parser reads strings. A manifest must mean the
same to all of them.
"""

from __future__ import annotations

import re
from typing import Any, Final

_TRUE: Final = ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON")
_FALSE: Final = ("n", "N", "no", "No", "NO", "off", "Off", "OFF")

BOOLEANS: Final = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
"""Words without quotes → their value; ``true`` and ``false`` are booleans in every version of YAML."""

_BOOLEAN_TAG: Final = "tag:yaml.org,2002:bool"
_PATTERN: Final = re.compile(f"^(?:{'|'.join(BOOLEANS)})$")
_YAML_VERSION: Final = (1, 2)


def read_words_as_booleans(parser: Any) -> None:
    """Let ``parser``, a ``ruamel.yaml.YAML``, read them as Kubernetes does."""
    first_letters = sorted({word[0] for word in BOOLEANS})
    _ = parser.resolver.versioned_resolver  # it fills in the rules of YAML, unless the version has one already
    parser.resolver.add_version_implicit_resolver(_YAML_VERSION, _BOOLEAN_TAG, _PATTERN, first_letters)


def key_text(key: object) -> str:
    """The key of a mapping as the key of a JSON object: ``true`` for a boolean."""
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)
