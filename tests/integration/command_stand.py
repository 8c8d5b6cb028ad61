"""A cluster for tests that only run commands: one that ``bobrapet up`` starts, or the real one with an operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.commandline import CommandLine
from tests.integration.operator_cluster import NAMESPACE_NAME
from tests.integration.real_stand import standing
from tools.control_plane.session import SessionCluster


@contextmanager
def open_line(folder: Path, real: SessionCluster | None) -> Iterator[tuple[CommandLine, str]]:
    """A command line and a namespace. Its commands find the cluster, except ``run``."""
    line = CommandLine(folder)
    if real is not None:
        if real.node is None:
            pytest.skip("needs our node: Pods of this cluster run on nodes of its own")
        image_map = Path(line.images.removeprefix("--image-map="))
        with standing(real, folder, image_map) as environment:
            yield replace(line, environment=environment), NAMESPACE_NAME
        return
    up = line.bobrapet("up", "--quiet", line.images)
    assert up.code == 0, up.err
    try:
        yield line, "default"
    finally:
        line.quick("down")
        line.wait_until_nothing_runs()
