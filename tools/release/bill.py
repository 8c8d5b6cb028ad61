"""The software that each wheel contains, as CycloneDX in ``*.dist-info/sboms`` (PEP 770).

It lists what is inside the wheel. What is installed beside it depends on the environment, see
``tools.release.installation``. ``python -m tools.release.bill`` writes the files, which the build only copies; a test
compares them.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
PROJECTS: Final = {"bobrapet": ROOT, "bubu-sdk": ROOT / "sdk", "bobrapet-impulses": ROOT / "impulses"}
"""The folder of each distribution."""
_OURS: Final = [{"license": {"id": "Apache-2.0"}}]


def file_of(name: str) -> Path:
    """Where the file of a distribution is: its build copies it, and its source distribution has it, too."""
    folder = Path(__file__).parent if name == "bobrapet" else PROJECTS[name]
    return folder / "sboms" / f"{name}.cdx.json"


def version_of(name: str) -> str:
    """The version in the ``pyproject.toml`` of a distribution."""
    return str(_project(name)["version"])


def document(name: str) -> dict[str, Any]:
    """The CycloneDX 1.6 document of a distribution."""
    project = _project(name)
    reference = f"pkg:pypi/{name}@{project['version']}"
    described = _component("application" if name == "bobrapet" else "library", name, reference, project["version"])
    parts = _parts() if name == "bobrapet" else []
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**described, "description": project["description"], "purl": reference}},
        "components": parts,
        "dependencies": [{"ref": reference, "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def _parts() -> list[dict[str, Any]]:
    """What the wheel of the operator contains that has another origin."""
    version = version_of("bubu-sdk")
    data = {
        "type": "data",
        "bom-ref": "data:weather",
        "name": "hourly normal temperatures of Seattle and San Francisco (NOAA, as in vega_datasets)",
        "licenses": [{"license": {"name": "public domain"}}],
    }
    return [*(_copy(name, version) for name in ("bubu_contract", "bubu_wire")), data]


def _copy(name: str, version: str) -> dict[str, Any]:
    """A package of the SDK's distribution."""
    reference = f"pkg:pypi/bubu-sdk@{version}#{name}"
    return {**_component("library", name, reference, version), "purl": reference}


def _component(kind: str, name: str, reference: str, version: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": reference, "name": name, "version": version, "licenses": _OURS}


def text_of(name: str) -> str:
    """The file of a distribution."""
    return json.dumps(document(name), indent=1) + "\n"


def _project(name: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((PROJECTS[name] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def main() -> None:
    """Write the file of each distribution."""
    for name in PROJECTS:
        file_of(name).parent.mkdir(exist_ok=True)
        file_of(name).write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    main()
