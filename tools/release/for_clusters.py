"""The files of a release that install it in a cluster: one manifest, and the Helm chart as a package.

They are made from a folder with the sources of the release, and need neither kustomize nor helm. The same sources give
the same bytes. Source: https://helm.sh/docs/topics/charts/, a package is a tar archive of the chart's folder.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Final

MANIFEST: Final = "install.yaml"
CHART: Final = "deployment/charts/bobrapet"
_REPOSITORY: Final = "repository: bobrapet-py\n"
_REGISTRY: Final = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*(:\d{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_FILE_MODE: Final = 0o644


class ForClustersError(Exception):
    """The files cannot be made from these sources; the message says why."""


def registry_of(text: str) -> str:
    """A registry, with the path of a team if there is one, such as ``registry.example/team``; empty: none.

    Raises:
        ValueError: it has another form.
    """
    if text and not _REGISTRY.fullmatch(text):
        raise ValueError(f"{text!r} must be HOST, HOST:PORT or HOST/PATH, such as registry.example/team")
    return text


def image_of(version: str, registry: str) -> str:
    """The image of the operator as nodes pull it."""
    return f"{registry}/bobrapet-py:{version}" if registry else f"bobrapet-py:{version}"


def manifest(source: Path, image: str) -> bytes:
    """The whole installation, in which the Pods run ``image``.

    Raises:
        subprocess.CalledProcessError: the sources do not render it; the program has said why.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(source / folder) for folder in ("", "sdk", "localcluster")),
    }
    command = (sys.executable, "-m", "deployment.installer", "--image", image)
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stderr.decode(errors="replace"))
        done.check_returncode()
    return done.stdout


def chart_package(source: Path, registry: str) -> bytes:
    """The chart, whose default image is in ``registry``: ``bobrapet-<version>.tgz``.

    Members have no times, owners or modes of this machine, and come in the order of their names after Chart.yaml. A
    folder that is a link is packaged as the files behind it, as Helm does.

    Raises:
        ForClustersError: the values do not name the image where they should.
    """
    folder = source / CHART
    paths = sorted(Path(where) / name for where, _, names in os.walk(folder, followlinks=True) for name in names)
    paths.sort(key=lambda path: path != folder / "Chart.yaml")
    packed = BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path in paths:
            content = path.read_bytes()
            if path == folder / "values.yaml" and registry:
                content = _with_registry(content, registry)
            member = tarfile.TarInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}")
            member.size, member.mode = len(content), _FILE_MODE
            archive.addfile(member, BytesIO(content))
    return packed.getvalue()


def _with_registry(values: bytes, registry: str) -> bytes:
    text = values.decode()
    if text.count(_REPOSITORY) != 1:
        raise ForClustersError(f"{CHART}/values.yaml must have {_REPOSITORY.strip()!r} exactly once")
    return text.replace(_REPOSITORY, f"repository: {registry}/bobrapet-py\n").encode()
