"""Files and directories that steps save and fetch."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import pytest

from bubu_sdk import Artifact, AsyncContext, Context
from bubu_sdk.artifacts import ArtifactPlace, Artifacts
from bubu_sdk.errors import InputError, OutputError, StorageError
from bubu_sdk.storage import FileStore
from bubu_sdk.testing import EngramEnvironment, InMemoryStore

PLACE = ArtifactPlace("outputs", "team", "run-train")
OTHER = ArtifactPlace("outputs", "team", "run-use")


@pytest.fixture
def store() -> InMemoryStore:
    return InMemoryStore()


@pytest.fixture
def artifacts(store: InMemoryStore) -> Artifacts:
    return Artifacts(store, PLACE)


def a_file(folder: Path, name: str = "model.pt", content: bytes = b"weights") -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def a_tree(folder: Path) -> Path:
    tree = folder / "data"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "rows.csv").write_text("a,b\n1,2\n")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "latest").symlink_to("inner/rows.csv")
    (tree / "empty").mkdir()
    return tree


def test_a_file_is_saved_under_its_digest_and_fetched_with_its_name(
    artifacts: Artifacts, store: InMemoryStore, tmp_path: Path
) -> None:
    saved = artifacts.save(a_file(tmp_path))

    digest = hashlib.sha256(b"weights").hexdigest()
    assert saved == Artifact(
        f"outputs/team/run-train/files/model.sha256-{digest}.pt", "model.pt", 7, digest, "application/octet-stream"
    )
    assert store.objects == {saved.key: b"weights"}
    fetched = Artifacts(store, OTHER).fetch(saved.to_json(), tmp_path / "there")
    assert (fetched.name, fetched.read_bytes()) == ("model.pt", b"weights")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["model.pt"]


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("report.html", "text/html"),
        ("chart.png", "image/png"),
        ("table.csv", "text/csv"),
        ("topics.md", "text/markdown"),
        ("rows.parquet", "application/vnd.apache.parquet"),
        ("odd.xyzw", "application/octet-stream"),
    ],
)
def test_the_content_type_follows_from_the_name(
    artifacts: Artifacts, store: InMemoryStore, tmp_path: Path, name: str, content_type: str
) -> None:
    assert artifacts.save(a_file(tmp_path, name)).content_type == content_type
    assert artifacts.save(a_file(tmp_path, name), content_type="x/y").content_type == "x/y"
    assert list(store.content_types.values())[-1] == "x/y"


@pytest.mark.parametrize("name", ["ünï cödé.tar.gz", "no-ending", "a" * 190 + ".bin", "..x", "-"])
def test_any_file_name_gives_a_safe_key(artifacts: Artifacts, tmp_path: Path, name: str) -> None:
    saved = artifacts.save(a_file(tmp_path), name=name)

    assert saved.name == name
    assert saved.key.isascii()
    assert max(map(len, saved.key.split("/"))) < 255
    assert artifacts.fetch(saved, tmp_path / "there").name == name


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "a\\b", "c:d", "line\nbreak", "x" * 300])
def test_a_name_that_would_leave_its_folder_is_refused(artifacts: Artifacts, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="without a folder"):
        artifacts.save(a_file(tmp_path), name=name)


def test_a_directory_comes_back_as_it_was(artifacts: Artifacts, tmp_path: Path) -> None:
    saved = artifacts.save(a_tree(tmp_path))
    fetched = artifacts.fetch(saved, tmp_path / "there")

    assert (saved.kind, saved.name, saved.content_type) == ("directory", "data", "application/x-tar")
    found = sorted(path.relative_to(fetched).as_posix() for path in fetched.rglob("*"))
    assert found == ["empty", "inner", "inner/rows.csv", "latest", "run.sh"]
    assert (fetched / "latest").read_text() == "a,b\n1,2\n"
    assert os.access(fetched / "run.sh", os.X_OK)


def test_equal_directories_are_equal_artifacts(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one, other = a_tree(tmp_path / "one"), a_tree(tmp_path / "other")
    os.utime(other / "run.sh", (1, 1))

    assert artifacts.save(one) == artifacts.save(other)


def test_a_link_that_leaves_the_directory_is_refused(
    artifacts: Artifacts, store: InMemoryStore, tmp_path: Path
) -> None:
    tree = a_tree(tmp_path)
    (tree / "secret").symlink_to("/etc/passwd")

    with pytest.raises(OutputError, match="a link that leaves the directory"):
        artifacts.save(tree)
    assert store.objects == {}


def test_what_does_not_exist_is_named(artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nothing\.bin' cannot be saved: No such file"):
        artifacts.save(tmp_path / "nothing.bin")


def tar_with(*entries: tarfile.TarInfo, content: bytes = b"") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return raw.getvalue()


def entry(name: str, type_: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = type_, link, size
    return found


@pytest.mark.parametrize(
    "archive",
    [
        tar_with(entry("../outside")),
        tar_with(entry("link", tarfile.SYMTYPE, "/etc"), entry("link/passwd")),
        tar_with(entry("link", tarfile.LNKTYPE, "/etc/passwd")),
        tar_with(entry("device", tarfile.CHRTYPE)),
        b"no archive at all",
    ],
)
def test_an_archive_cannot_write_elsewhere(
    artifacts: Artifacts, store: InMemoryStore, tmp_path: Path, archive: bytes
) -> None:
    digest = hashlib.sha256(archive).hexdigest()
    hostile = Artifact("outputs/team/run/files/x.tar", "data", len(archive), digest, kind="directory")
    store.objects[hostile.key] = archive

    with pytest.raises(InputError, match="is not a directory that can be used"):
        artifacts.fetch(hostile, tmp_path / "there")
    assert not (tmp_path / "outside").exists()


def test_an_absolute_entry_stays_inside(artifacts: Artifacts, store: InMemoryStore, tmp_path: Path) -> None:
    archive = tar_with(entry("/inside"))
    digest = hashlib.sha256(archive).hexdigest()
    odd = Artifact("outputs/team/run/files/x.tar", "data", len(archive), digest, kind="directory")
    store.objects[odd.key] = archive

    assert [path.name for path in artifacts.fetch(odd, tmp_path / "there").iterdir()] == ["inside"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"$bubuArtifact": "outputs/other/run/files/x"}, "does not belong to namespace 'team'"),
        ({"$bubuArtifact": "../x"}, "must be relative"),
        ({"$bubuArtifact": "/etc/passwd"}, "must be relative"),
        ({"name": "../x"}, "without a folder"),
        ({"kind": "device"}, "must be 'file' or 'directory'"),
        ({"sizeBytes": -1}, "must be a number of bytes"),
        ({"sizeBytes": True}, "must be a number of bytes"),
        ({"sha256": "0"}, "must be a SHA-256"),
        ({"contentType": 1}, "must be a string"),
        ({"more": 1}, "has no 'more'"),
    ],
)
def test_an_artifact_that_is_malformed_or_foreign_is_refused(
    artifacts: Artifacts, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    node = artifacts.save(a_file(tmp_path)).to_json() | change

    with pytest.raises((InputError, StorageError), match=problem):
        artifacts.fetch(node, tmp_path / "there")
    with pytest.raises(InputError, match="must be an artifact"):
        artifacts.fetch({"x": 1})


@pytest.mark.parametrize("content", [b"weightz", b"weight", b"weights and more"])
def test_an_object_with_another_content_is_refused_and_leaves_no_file(
    artifacts: Artifacts, store: InMemoryStore, tmp_path: Path, content: bytes
) -> None:
    saved = artifacts.save(a_file(tmp_path))
    store.objects[saved.key] = content

    with pytest.raises(StorageError, match=r"does not have the content|larger than 7 bytes") as caught:
        artifacts.fetch(saved, tmp_path / "there")
    assert not caught.value.retryable
    assert list((tmp_path / "there").iterdir()) == []


def test_a_busy_store_is_tried_again(artifacts: Artifacts, store: InMemoryStore, tmp_path: Path) -> None:
    failures = [StorageError("busy"), StorageError("busy")]
    upload, download = store.upload, store.download

    def busy(call: Callable[..., None]) -> Callable[..., None]:
        def once(*arguments: Any) -> None:
            if failures:
                raise failures.pop()
            call(*arguments)

        return once

    store.upload = busy(upload)  # type: ignore[method-assign]  # as a store that fails twice
    store.download = busy(download)  # type: ignore[method-assign]
    saved = artifacts.save(a_file(tmp_path))
    failures += [StorageError("busy")]

    assert artifacts.fetch(saved, tmp_path / "there").read_bytes() == b"weights"


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """No part that goes to the store, or comes from it, is larger than a mebibyte."""
    largest = 0

    class Watched(FileStore):
        def upload(self, key: str, source: IO[bytes], size_bytes: int, content_type: str) -> None:
            read = source.read

            def counted(size: int = -1) -> bytes:
                nonlocal largest
                part = read(size)
                largest = max(largest, len(part))
                return part

            watched = io.BytesIO()
            watched.read = counted  # type: ignore[method-assign, assignment]
            super().upload(key, watched, size_bytes, content_type)

    artifacts = Artifacts(Watched(tmp_path / "store"), PLACE)
    saved = artifacts.save(a_file(tmp_path, content=os.urandom(5 << 20)))

    assert artifacts.fetch(saved, tmp_path / "there").stat().st_size == 5 << 20
    assert largest == 1 << 20


def test_without_a_store_or_a_steprun_nothing_is_saved(store: InMemoryStore, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no storage is configured"):
        Artifacts(None, PLACE).save(a_file(tmp_path))
    with pytest.raises(StorageError, match="BUBU_STEPRUN_NAME"):
        Artifacts(store, replace(PLACE, step_run=" ")).save(a_file(tmp_path))


def test_a_folder_that_cannot_be_written_names_the_remedy(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = artifacts.save(a_file(tmp_path))
    file = a_file(tmp_path, "file")

    with pytest.raises(StorageError, match="mount an emptyDir there"):
        artifacts.fetch(saved, file / "below")


# In the function of a step.


@dataclass
class Inputs:
    model: Path
    rows: list[Path]
    maybe: Path | None = None
    plain: Path = Path("x")
    kept: Artifact | None = None


def test_inputs_of_type_path_are_fetched_and_artifacts_are_outputs(tmp_path: Path) -> None:
    environment = EngramEnvironment()

    def train(ctx: Context) -> dict[str, object]:
        return {"model": ctx.artifacts.save(a_file(tmp_path)), "data": ctx.artifacts.save(a_tree(tmp_path))}

    def use(ctx: Context, inputs: Inputs) -> dict[str, object]:
        assert inputs.kept is not None
        with ctx.artifacts.open(inputs.kept) as file:
            content = file.read().decode()
        return {
            "model": inputs.model.read_text(),
            "rows": [(path / "inner" / "rows.csv").read_text() for path in inputs.rows],
            "rest": [str(inputs.maybe), str(inputs.plain), content],
            "passed": inputs.kept,
        }

    output = environment.run(train).status["output"]
    model, data = output["model"], output["data"]
    later = EngramEnvironment()
    later.store.objects |= environment.store.objects
    outcome = later.run(use, {"model": model, "rows": [data], "plain": "/srv/file", "kept": model})

    assert model["$bubuArtifact"].startswith("outputs/default/story-run-step/files/model.sha256-")
    assert outcome.status["output"] == {
        "model": "weights",
        "rows": ["a,b\n1,2\n"],
        "rest": ["None", "/srv/file", "weights"],
        "passed": model,
    }


def test_an_async_function_awaits_them(tmp_path: Path) -> None:
    environment = EngramEnvironment()

    async def main(ctx: AsyncContext) -> dict[str, object]:
        saved = await ctx.artifacts.save(a_file(tmp_path))
        return {"text": (await ctx.artifacts.fetch(saved)).read_text()}

    assert environment.run(main).status["output"] == {"text": "weights"}


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({"model": 5, "rows": []}, "inputs.model: expected an artifact or the path of a file"),
        ({"model": {"$bubuArtifact": "outputs/other/a/b"}, "rows": []}, "inputs.model: the stored object"),
        ({"model": "x", "rows": [], "kept": {"a": 1}}, "inputs.kept"),
    ],
)
def test_inputs_that_are_no_files_fail_the_step_and_are_named(inputs: dict[str, Any], problem: str) -> None:
    def use(inputs: Inputs) -> None:
        """Never called."""

    outcome = EngramEnvironment().run(use, inputs)

    assert outcome.status["phase"] == "Failed"
    assert problem in outcome.status["error"]["message"]


def test_an_artifact_of_another_namespace_is_not_fetched_either_when_it_is_typed_input() -> None:
    store = InMemoryStore()
    store.objects["outputs/other/run/files/secret.txt"] = b"theirs"
    theirs = Artifact("outputs/other/run/files/secret.txt", "secret.txt", 6, hashlib.sha256(b"theirs").hexdigest())

    with pytest.raises(InputError, match=r"'outputs/other/run/files/secret\.txt' does not belong to namespace 'team'"):
        Artifacts(store, OTHER).fetch(theirs)
