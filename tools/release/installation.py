"""The components of a plain installation of bobrapet, with their licences, as CycloneDX and as Markdown.

``python -m tools.release.installation FILE`` lists an installation of the wheels of this checkout, in the versions of
``requirements.lock``.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tools.release.bill import PROJECTS, ROOT

LOCKS: Final = Path("tools", "release", "locks")
"""Their folder in a checkout."""
INSTALLED: Final = ("bobrapet", "bubu-sdk")
"""The distributions of ours that an installation has."""
_UV: Final = str(Path(sys.executable).parent / "uv")


def build_wheel(project: Path, target: Path) -> None:
    """Build the wheel of a project with the locked tools of this environment."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target), folder=project)


def components_of(wheels: Sequence[Path], work: Path, source: Path = ROOT) -> dict[str, Any]:
    """What an environment has after the installation of ``wheels``, with every file held to its hash.

    Raises:
        subprocess.CalledProcessError: something cannot be installed; the tool has said why.
    """
    installed, lister, locks = work / "installed", work / "lister", source / LOCKS
    named = [f"{_name(wheel)} @ {wheel.as_uri()} --hash=sha256:{sha256(wheel)}" for wheel in wheels]
    (work / "wheels.txt").write_text("\n".join(named) + "\n")
    constraints = ["--constraints", str(locks / "requirements.lock"), "-r", str(work / "wheels.txt")]
    for folder, words in ((installed, constraints), (lister, ["-r", str(locks / "requirements-sbom.lock")])):
        run(_UV, "venv", "--quiet", "--python", sys.executable, str(folder))
        run(_UV, "pip", "install", "--quiet", "--python", str(folder), "--require-hashes", *words)
    command = ("environment", "--output-reproducible", "--output-file", str(work / "all.json"), str(installed))
    run(str(lister / "bin" / "cyclonedx-py"), *command)
    return without_local_places(json.loads((work / "all.json").read_text(encoding="utf-8")))


def without_local_places(bill: dict[str, Any]) -> dict[str, Any]:
    """The document without the paths of the machine that wrote it."""
    for component in bill["components"]:
        found = component.pop("externalReferences", [])
        kept = [reference for reference in found if not reference["url"].startswith("file:")]
        if kept:
            component["externalReferences"] = kept
    return bill


def licences(bill: Mapping[str, Any], version: str) -> str:
    """The components and their licences as a table, sorted by name."""
    rows = sorted((each["name"].lower(), each["version"], _licence(each)) for each in bill["components"])
    lines = [f"| {name} | {found} | {licence} |" for name, found, licence in rows]
    head = [
        f"# Components of bobrapet {version} and their licences",
        "",
        "| component | version | licence |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *lines]) + "\n"


def _licence(component: Mapping[str, Any]) -> str:
    """The SPDX expression or identifiers; otherwise the names as the component states them."""
    stated = component.get("licenses", [])
    expressions = [each["expression"] for each in stated if "expression" in each]
    found = [each["license"] for each in stated if "license" in each]
    identifiers = sorted({each["id"] for each in found if "id" in each})
    names = sorted({each["name"] for each in found if "name" in each})
    return ", ".join(expressions or identifiers or names).replace("\n", " ") or "not stated"


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*command: str, folder: Path | None = None) -> None:
    """Run a tool to its end. Its output is shown only if it fails.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()


def _name(wheel: Path) -> str:
    return wheel.name.partition("-")[0].replace("_", "-")


def main(target: Path) -> None:
    """Write the components of an installation of this checkout."""
    with tempfile.TemporaryDirectory() as work:
        for name in INSTALLED:
            build_wheel(PROJECTS[name], Path(work, "wheels"))
        bill = components_of(sorted(Path(work, "wheels").glob("*.whl")), Path(work))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
