"""Saves a file as an artifact, fetches it again, and prints by how much the process has grown meanwhile, as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from pathlib import Path

from bubu_sdk import s3
from bubu_sdk.artifacts import ArtifactPlace, Artifacts


def main(file: Path) -> None:
    artifacts = Artifacts(s3.open_s3_store(os.environ), ArtifactPlace("outputs", "team", "run-step"))
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.bin"
        small.write_bytes(b"x" * 100)
        artifacts.fetch(artifacts.save(small), folder)  # loads what is needed
        before = peak_bytes()
        fetched = artifacts.fetch(artifacts.save(file), folder)
        assert fetched.stat().st_size == file.stat().st_size
        print(json.dumps({"grownBytes": peak_bytes() - before}))


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
