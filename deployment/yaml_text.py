"""Documents as YAML, for the files that are rendered from code."""

from __future__ import annotations

import io
from typing import Any, Final

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

_YAML_WIDTH: Final = 120
_YAML_11_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off"})


class _Representer(SafeRepresenter):
    """Quotes words that some readers, for example kubectl, treat as booleans: an enum's ``off`` must stay a string.

    Strings of several lines are written as they are.
    """

    def represent_str(self, data: str) -> ScalarNode:
        style = '"' if data.lower() in _YAML_11_WORDS else "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Representer.add_representer(str, _Representer.represent_str)


def yaml_text(document: dict[str, Any] | list[dict[str, Any]]) -> str:
    """Block-style YAML with the order of keys kept: the same document always results in the same bytes."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.width = _YAML_WIDTH
    yaml.sort_base_mapping_type_on_output = None  # keep the order; the safe writer sorts by default
    buffer = io.StringIO()
    yaml.dump(document, buffer)
    return buffer.getvalue()


def unshared(document: Any) -> Any:
    """The same document, whose YAML has no anchors: no part of it is the same object as another one."""
    return orjson.loads(orjson.dumps(document))
