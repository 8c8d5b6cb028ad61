"""``python -m tools.release``: everything that a release needs, in ``dist``, and nothing is pushed.

It stops before it builds if versions, CHANGELOG.md or the tree are not those of a release, and names all reasons.
``--draft`` builds what the newest commit has, to look at it; it does not ask for a date and a clean tree.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.release import changelog, for_clusters, installation, provenance, readiness, tree
from tools.release.bill import PROJECTS, ROOT
from tools.release.installation import sha256

CHECKSUMS: Final = "SHA256SUMS"
STATEMENT: Final = "provenance.intoto.json"
PREDICATE: Final = "provenance.predicate.json"
NOTES: Final = "RELEASE_NOTES.md"


def main(arguments: Sequence[str]) -> int:
    """Build the release; returns the exit code."""
    parser = argparse.ArgumentParser("python -m tools.release", allow_abbrev=False, description=__doc__)
    parser.add_argument("--draft", action="store_true", help="build also if this is not ready to be released")
    parser.add_argument("--target", type=Path, default=ROOT / "dist", help="the folder; it is replaced (default: dist)")
    where = "where the image will be, such as registry.example/team, for install.yaml and the chart (default: nowhere)"
    parser.add_argument("--registry", default="", help=where)
    given = parser.parse_args(arguments)
    try:
        registry = for_clusters.registry_of(given.registry)
    except ValueError as error:
        parser.error(f"--registry: {error}")
    facts = tree.facts(ROOT)
    found = readiness.problems(facts)
    for problem in found:
        sys.stderr.write(f"{'not ready' if given.draft else 'error'}: {problem}\n")
    if found and not given.draft:
        return 1
    shutil.rmtree(given.target, ignore_errors=True)
    given.target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        try:
            write(facts, given.target.resolve(), Path(work), registry)
        except (changelog.ChangelogError, for_clusters.ForClustersError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
    for path in sorted(given.target.iterdir()):
        sys.stdout.write(f"{path.stat().st_size:>9}  {path}\n")
    return 0


def write(facts: readiness.ReleaseFacts, target: Path, work: Path, registry: str = "") -> None:
    """Write the files of a release to ``target``. The image of the operator is expected in ``registry``.

    Raises:
        ChangelogError: CHANGELOG.md has no section for the version.
        ForClustersError: the chart of the commit cannot be packed.
        subprocess.CalledProcessError: a tool failed; it has said why.
    """
    version, source = facts.version, work / "source"
    tree.export(ROOT, facts.commit, source)
    for folder in PROJECTS.values():
        for kind in ("wheel", "sdist"):
            command = (sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target))
            installation.run(*command, folder=source / folder.relative_to(ROOT))
    wheels = [next(target.glob(f"{name.replace('-', '_')}-*.whl")) for name in installation.INSTALLED]
    bill = installation.components_of(wheels, work, source)
    _write(target / f"bobrapet-{version}.cdx.json", json.dumps(bill, indent=1) + "\n")
    _write(target / f"bobrapet-{version}-licences.md", installation.licences(bill, version))
    image = for_clusters.image_of(version, registry)
    (target / for_clusters.MANIFEST).write_bytes(for_clusters.manifest(source, image))
    (target / f"bobrapet-{version}.tgz").write_bytes(for_clusters.chart_package(source, registry))
    digests = {path.name: sha256(path) for path in target.iterdir()}
    built = provenance.BuildFacts(
        version=version,
        registry=registry,
        commit=facts.commit,
        repository=provenance.without_credentials(tree.origin(ROOT)),
        builder=provenance.builder_of(os.environ),
        python=platform.python_version(),
        build_lock=(source / installation.LOCKS / "requirements-build.lock").read_text(encoding="utf-8"),
    )
    _write(target / STATEMENT, json.dumps(provenance.statement(digests, built), indent=1) + "\n")
    _write(target / PREDICATE, json.dumps(provenance.predicate(built), indent=1) + "\n")
    _write(target / NOTES, changelog.notes(facts.changelog, version))
    named = {**digests, STATEMENT: sha256(target / STATEMENT), NOTES: sha256(target / NOTES)}
    _write(target / CHECKSUMS, "".join(f"{named[name]}  {name}\n" for name in sorted(named)))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
