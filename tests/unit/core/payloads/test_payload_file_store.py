"""Files below a folder that other programs can write to."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from core.payloads.errors import ObjectMissingError, PayloadError, StoreUnavailableError
from core.payloads.store import open_file_store

KEY = "outputs/ns/sr/output.json"
LIMIT = 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with one object. Beside it and in it are files that must never be read."""
    root = tmp_path / "root"
    (root / "outputs/ns/sr").mkdir(parents=True)
    (root / KEY).write_bytes(b"{}")
    (tmp_path / "canary").write_bytes(b"canary")
    (root / "link").symlink_to(tmp_path)
    (root / "outputs/ns/sr/link").symlink_to(tmp_path / "canary")
    (root / "outputs/ns/sr/inner").symlink_to(root / KEY)
    (root / "outputs/ns/up").symlink_to("../../..")
    (root / "outputs/ns/%2e%2e").symlink_to("..")
    return root


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Close all descriptors that a test opens when it ends."""
    before = set(Path("/proc/self/fd").iterdir())
    yield
    assert len(set(Path("/proc/self/fd").iterdir()) - before) == 0


async def refusal(root: Path, key: str, limit_bytes: int = LIMIT) -> str:
    with pytest.raises(PayloadError) as caught:
        await open_file_store(str(root)).read(key, limit_bytes)
    return str(caught.value)


async def test_a_file_below_the_root_is_read(root: Path) -> None:
    assert await open_file_store(str(root)).read(KEY, LIMIT) == b"{}"


async def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mounted").symlink_to(root)

    assert await open_file_store(str(tmp_path / "mounted")).read(KEY, LIMIT) == b"{}"


async def test_a_missing_object_is_named_with_the_remedy(root: Path) -> None:
    assert "'outputs/ns/sr/none' does not exist; run the step again" in await refusal(root, "outputs/ns/sr/none")
    assert "does not exist" in await refusal(root, "outputs/other/sr/output.json")


@pytest.mark.parametrize(
    "key",
    [
        "link/canary",
        "outputs/ns/sr/link",
        "outputs/ns/sr/inner",
        "outputs/ns/up/canary",
        "outputs/ns/%2e%2e/ns/sr/output.json",
        f"{KEY}/x",
        "outputs/ns/sr",
    ],
)
@pytest.mark.usefixtures("descriptors")
async def test_links_are_not_followed_and_folders_are_not_read(root: Path, key: str) -> None:
    assert "must be a regular file" in await refusal(root, key)


@pytest.mark.usefixtures("descriptors")
async def test_a_pipe_or_a_socket_holds_nobody_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "outputs/pipe")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener, trio.fail_after(5):
        listener.bind("outputs/socket")
        assert "must be a regular file" in await refusal(root, "outputs/pipe")
        assert "must be a regular file" in await refusal(root, "outputs/socket")


async def test_a_file_is_refused_by_its_size_before_it_is_read(root: Path) -> None:
    with (root / KEY).open("wb") as file:
        file.truncate(10 * 1024**3)

    assert "larger than 1,000 bytes; process it in a step" in await refusal(root, KEY)


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_the_limit_is_the_largest_size(root: Path, size: int, fits: bool) -> None:
    (root / KEY).write_bytes(b"x" * size)

    if fits:
        assert len(await open_file_store(str(root)).read(KEY, LIMIT)) == size
    else:
        await refusal(root, KEY)


async def test_a_file_whose_size_is_not_known_is_read_up_to_the_limit() -> None:
    assert "larger than 100 bytes" in await refusal(Path("/proc"), "meminfo", 100)


async def test_a_root_that_is_not_mounted_is_worth_another_try(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"payload folder '.*/none' cannot be opened: No such file"):
        await open_file_store(str(tmp_path / "none")).read(KEY, LIMIT)


@pytest.mark.usefixtures("descriptors")
async def test_a_volume_that_fails_is_worth_another_try(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def failing(path: str, *arguments: Any, **options: Any) -> int:
        if path == "sr":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return really(path, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)

    with pytest.raises(StoreUnavailableError, match=r"payload folder '.*/root' cannot be read: Stale file handle"):
        await open_file_store(str(root)).read(KEY, LIMIT)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_what_is_written_is_read(root: Path, descriptors: None) -> None:
    store = open_file_store(str(root))

    await store.write("inputs/ns/run/a.json", b"one")
    await store.write("inputs/ns/run/a.json", b"two")

    assert await store.read("inputs/ns/run/a.json", LIMIT) == b"two"
    assert names(root / "inputs/ns/run") == ["a.json"]


async def test_a_write_never_leaves_the_root(root: Path, tmp_path: Path, descriptors: None) -> None:
    store = open_file_store(str(root))
    for key in ("link/ns/new", "outputs/ns/up/new", "outputs/ns/sr/output.json/new"):
        with pytest.raises(StoreUnavailableError, match="cannot be written"):
            await store.write(key, b"stolen")
    for key in ("../new", "/new", "a//b", ""):
        with pytest.raises(PayloadError):
            await store.write(key, b"stolen")
    await store.write("outputs/ns/sr/link", b"mine")

    assert (tmp_path / "canary").read_bytes() == b"canary"
    assert (root / "outputs/ns/sr/link").read_bytes() == b"mine"
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "ns").exists()


async def test_a_write_that_fails_leaves_the_old_object_and_nothing_else(
    root: Path, descriptors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailableError, match="cannot be written: No space left on device"):
        await open_file_store(str(root)).write(KEY, b"new")

    assert (root / KEY).read_bytes() == b"{}"
    assert names(root / "outputs/ns/sr") == ["inner", "link", "output.json"]


async def test_a_missing_root_is_made_only_where_that_is_wanted(tmp_path: Path) -> None:
    root = tmp_path / "claims" / "ns" / "payloads"
    with pytest.raises(StoreUnavailableError, match="mount the volume"):
        await open_file_store(str(root)).write(KEY, b"{}")
    await open_file_store(str(root), makes_root=True).write(KEY, b"{}")

    assert (root / KEY).read_bytes() == b"{}"


async def listed(root: Path, folder: str, limit: int) -> list[str]:
    """All keys below ``folder``, in pages of ``limit``."""
    store, found = open_file_store(str(root)), list[str]()
    while page := await store.page(folder, after=found[-1] if found else "", limit=limit):
        assert len(page) <= limit
        found += [each.key for each in page]
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_files_are_listed_in_pages_by_their_keys(root: Path, descriptors: None, limit: int) -> None:
    wanted = ["a!.json", "a.json", "a/b.json", "a/c/d.json", "a0.json", "a/c.json", "b/x.json", "é.json"]
    for name in wanted:
        await open_file_store(str(root)).write(f"inputs/ns/run/{name}", b"12345")
    await open_file_store(str(root)).write("inputs/ns-b/run/other.json", b"{}")

    assert await listed(root, "inputs/ns", limit) == sorted(f"inputs/ns/run/{name}" for name in wanted)


async def test_a_listed_file_has_its_size_and_its_age(root: Path) -> None:
    (root / KEY).write_bytes(b"12345")
    os.utime(root / KEY, (1000, 1_700_000_000))

    [found] = await open_file_store(str(root)).page("outputs/ns/sr")

    assert (found.key, found.size_bytes) == (KEY, 5)
    assert found.modified_at == datetime.fromtimestamp(1_700_000_000, UTC)


async def test_a_listing_follows_no_links_and_shows_regular_files_only(root: Path, descriptors: None) -> None:
    os.mkfifo(root / "outputs/ns/pipe")
    (root / "outputs/ns/line\nbreak").write_bytes(b"")

    assert await listed(root, "outputs", 10) == [KEY]
    for folder in ("link", "outputs/ns/up", "outputs/ns/sr/link", KEY, "outputs/none"):
        assert await listed(root, folder, 10) == []
    with pytest.raises(PayloadError):
        await listed(root, "../root", 10)


async def test_a_volume_that_is_not_mounted_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    store = open_file_store(str(tmp_path / "none"))
    with pytest.raises(StoreUnavailableError, match="mount the volume"):
        await store.page("outputs")
    with pytest.raises(StoreUnavailableError, match="mount the volume"):
        await store.delete([KEY])

    made_later = open_file_store(str(tmp_path / "none"), makes_root=True)
    with pytest.raises(ObjectMissingError):
        await made_later.read(KEY, 1000)
    await made_later.delete([KEY])
    assert await made_later.page("outputs") == []


async def test_deleted_files_are_gone_with_their_empty_folders(root: Path, descriptors: None) -> None:
    store = open_file_store(str(root))
    for key in ("inputs/ns/a/x/y.json", "inputs/ns/a/z.json", "inputs/ns/b/z.json"):
        await store.write(key, b"{}")

    await store.delete(["inputs/ns/a/x/y.json", "inputs/ns/none/x.json", "inputs/ns/b/none"])
    assert names(root / "inputs/ns/a") == ["z.json"]
    await store.delete(["inputs/ns/a/z.json", "inputs/ns/b/z.json", "inputs/ns/b/z.json"])

    assert names(root / "inputs/ns") == []
    assert names(root / "inputs") == ["ns"]


async def test_a_deletion_never_leaves_the_root(root: Path, tmp_path: Path, descriptors: None) -> None:
    store = open_file_store(str(root))
    await store.delete(["link/canary", "outputs/ns/up/canary", "outputs/ns/sr/link", f"{KEY}/x"])
    for key in ("../canary", "/canary", ""):
        with pytest.raises(PayloadError):
            await store.delete([KEY, key])
    with pytest.raises(PayloadError, match="must be a regular file"):
        await store.delete(["outputs/ns/sr"])

    assert (tmp_path / "canary").read_bytes() == b"canary"
    assert (root / KEY).read_bytes() == b"{}"
    assert names(root / "outputs/ns/sr") == ["inner", "output.json"]


async def test_a_volume_that_refuses_a_deletion_is_worth_another_try(
    root: Path, descriptors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, *, dir_fd: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "unlink", refuse)

    with pytest.raises(StoreUnavailableError, match=r"output\.json' be deleted: Read-only file system"):
        await open_file_store(str(root)).delete([KEY])


async def test_a_write_survives_the_removal_of_its_empty_folder(
    root: Path, descriptors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, removals = os.mkdir, ["new"]

    def removed_at_once(name: str, mode: int, *, dir_fd: int) -> None:
        really(name, mode, dir_fd=dir_fd)
        if name in removals:
            removals.remove(name)
            os.rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", removed_at_once)

    await open_file_store(str(root)).write("outputs/ns/new/a.json", b"{}")

    assert (root / "outputs/ns/new/a.json").read_bytes() == b"{}"


async def test_an_object_is_downloaded_and_copied_in_parts(root: Path, tmp_path: Path, descriptors: None) -> None:
    store, content = open_file_store(str(root)), os.urandom((1 << 20) * 2 + 5)
    await store.write("outputs/ns/run/a", content)

    await store.download("outputs/ns/run/a", tmp_path / "file", len(content))
    await store.copy("outputs/ns/run/a", "cache/ns/engram/b")

    assert (tmp_path / "file").read_bytes() == content
    assert (root / "cache/ns/engram/b").read_bytes() == content
    assert names(root / "cache/ns/engram") == ["b"]


async def test_what_is_too_large_or_no_object_is_neither_downloaded_nor_copied(
    root: Path, tmp_path: Path, descriptors: None
) -> None:
    store = open_file_store(str(root))
    with pytest.raises(PayloadError, match="larger than 1 bytes"):
        await store.download(KEY, tmp_path / "file", 1)
    for key in ("link/canary", "outputs/ns/sr/link", "outputs/ns/none"):
        with pytest.raises(PayloadError):
            await store.download(key, tmp_path / "file", LIMIT)
        with pytest.raises(PayloadError):
            await store.copy(key, "cache/ns/b")

    assert not (root / "cache/ns/b").exists()
    assert not any(name.startswith(".bubu") for name in names(root / "cache/ns"))
