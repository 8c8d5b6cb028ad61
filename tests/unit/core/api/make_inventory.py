"""Write ``contract_inventory.json`` from a directory with the contract's resource files, given as the only argument.

Run once per version of the contract: ``python -m tests.unit.core.api.make_inventory DIRECTORY``. Each file is
YAML with the ``spec`` of one CustomResourceDefinition at its top level.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.unit.core.api.crd_inventory import inventory

TARGET = Path(__file__).with_name("contract_inventory.json")


def main(directory: Path) -> None:
    yaml = YAML(typ="safe", pure=True)
    kinds = [inventory(yaml.load(path.read_text(encoding="utf-8"))) for path in sorted(directory.glob("*.yaml"))]
    TARGET.write_text(rendered({kind["names"]["kind"]: kind for kind in kinds}) + "\n", encoding="utf-8")


def rendered(value: Any, depth: int = 0) -> str:
    """JSON with one schema path per line, so that a diff shows what changed in the contract."""
    if depth == 3 or not isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    margin = " " * (depth + 1)
    lines = [f"{margin}{json.dumps(key)}: {rendered(item, depth + 1)}" for key, item in sorted(value.items())]
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
