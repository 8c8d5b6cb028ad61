"""Whatever key a reference names, only files of the run's namespace are opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.payloads.errors import PayloadError
from core.payloads.hydrate import hydrate
from core.payloads.store import open_file_store

CANARY = b'{"contentType":"raw","data":"canary"}'

_PARTS = st.sampled_from(
    ["outputs", "ns", "sr", "o", "other", "up", "away", "canary", "root", "..", ".", "%2e%2e", "%2e", "~", "a\0", ""]
)
_KEYS = st.builds(
    lambda start, parts, separators: start + "".join(map("".join, zip(parts, separators, strict=False))),
    st.sampled_from(["", "outputs/ns/", "/", "\\", "./", "../"]),
    st.lists(_PARTS | st.text(max_size=3), min_size=1, max_size=6),
    st.lists(st.sampled_from(["/", "/", "\\", "//", ""]), min_size=6, max_size=6),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with one object of the namespace, and a canary in every place that a malicious key may reach."""
    root = tmp_path / "root"
    own = root / "outputs/ns"
    for folder in (own / "sr", root / "outputs/other/sr", root / "ns", root / "outputs/%2e%2e"):
        folder.mkdir(parents=True)
        (folder / "o").write_bytes(CANARY)
    (own / "sr/o").write_bytes(b'{"contentType":"raw","data":"own"}')
    for outside in (tmp_path / "canary", root / "canary", root / "outputs/canary", root / "outputs/other/canary"):
        outside.write_bytes(CANARY)
    (own / "up").symlink_to("..")
    (own / "away").symlink_to(tmp_path, target_is_directory=True)
    (own / "canary").symlink_to(tmp_path / "canary")
    (own / "other").symlink_to(root / "outputs/other")
    (own / "~").symlink_to("/")
    return root


@contextmanager
def opened_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The real paths of all files that are opened meanwhile."""
    found: list[str] = []
    really = os.open

    def spy(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        descriptor = really(path, flags, *arguments, **options)
        found.append(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115 - the file is not named by us
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", spy)
        yield found


@given(key=_KEYS)
@example("outputs/ns/../other/sr/o")
@example("outputs/ns/..\\other\\sr\\o")
@example("outputs/ns/%2e%2e/other/sr/o")
@example("outputs/ns/up/other/sr/o")
@example("outputs/ns/away/canary")
@example("outputs/ns/canary")
@example("outputs/ns/~/etc/passwd")
@example("outputs/ns/sr/o\0.json")
@example("outputs/other/sr/o")
@example("outputs/ns/sr/o")
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_opened_outside_of_the_namespace(root: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    async def read() -> Any:
        reference = {"$bubuStorageRef": key}
        return await hydrate(reference, open_file_store(str(root)), namespace="ns", field="inputs")

    with opened_files(monkeypatch) as opened:
        try:
            value = trio.run(read)
        except PayloadError:
            value = "own"

    assert value == "own"
    below = [Path(path).relative_to(root).parts for path in opened]  # fails if a file is not below root
    assert [parts for parts in below if len(parts) > 1 and parts[1] != "ns"] == []
    assert [parts for parts in below if len(parts) == 1 and not (root / parts[0]).is_dir()] == []
