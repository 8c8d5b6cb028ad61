"""What the database stores, and how it refuses."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from localcluster.server.storage import (
    Durability,
    Storage,
    StorageCorruptError,
    StorageError,
    StorageReadOnlyError,
    Write,
)
from localcluster.server.store import Store
from localcluster.server.stored import Stored

WRITER = """
import sys
from pathlib import Path
from localcluster.server.storage import Storage, Write
storage = Storage.open(Path(sys.argv[1]))
for revision in range(2, 100_000):
    storage.commit((Write(f"/configmaps/default/{revision}", revision, b"{}"),))
    print(revision, flush=True)
"""

FULL = """
import resource, signal, sys
from pathlib import Path
from localcluster.server.storage import Storage, StorageError, Write
storage = Storage.open(Path(sys.argv[1]))
storage.commit((Write("/configmaps/default/kept", 2, b"kept"),))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, hard))
try:
    storage.commit((Write("/configmaps/default/huge", 3, b"x" * 1024 * 1024),))
except StorageError as error:
    print(f"refused: {error}")
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
storage.commit((Write("/configmaps/default/after", 4, b"after"),))
print([key for key, _, _ in storage.load()], storage.revision)
"""


@pytest.mark.parametrize("durability", list(Durability))
def test_committed_writes_are_there_after_reopening(tmp_path: Path, durability: Durability) -> None:
    path = tmp_path / "cluster.db"
    storage = Storage.open(path, durability=durability)
    storage.commit((Write("/pods/a/x", 2, b"one"), Write("/pods/a/y", 3, b"two")))
    storage.commit((Write("/pods/a/x", 4, None),))
    storage.set_setting("key", b"value")
    storage.close()
    again = Storage.open(path)
    assert list(again.load()) == [("/pods/a/y", 3, b"two")]
    assert again.revision == 4
    assert again.setting("key") == b"value"
    assert again.setting("other") is None
    again.close()


def test_acknowledged_writes_survive_kill_nine(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(200)]
        process.kill()
        acknowledged += [int(line) for line in process.stdout.read().split()]
    storage = Storage.open(path)
    stored = {revision for _, revision, _ in storage.load()}
    assert set(acknowledged) <= stored
    assert storage.revision >= max(acknowledged)
    storage.close()


def test_a_full_disk_refuses_the_write_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    result = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    refusal, state = result.stdout.strip().splitlines()
    assert refusal.startswith("refused: ")
    assert str(path) in refusal
    assert state == "['/configmaps/default/after', '/configmaps/default/kept'] 4"


def test_a_directory_that_is_not_there_is_named() -> None:
    with pytest.raises(StorageReadOnlyError, match=r"/nowhere/at/all/cluster\.db"):
        Storage.open(Path("/nowhere/at/all/cluster.db"))


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE precious (id)")
    connection.close()
    with pytest.raises(StorageCorruptError, match="not a database of a local cluster"):
        Storage.open(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]
    connection.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("not a database, but long enough to be taken for one" * 50)
    with pytest.raises(StorageError, match=r"text\.db"):
        Storage.open(path)


def test_the_log_is_folded_in_without_losing_anything(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    storage = Storage.open(path)
    for revision in range(2, 50):
        storage.commit((Write("/pods/a/x", revision, b"x" * 10_000),))
    storage.close()
    assert not path.with_name("cluster.db-wal").exists()
    again = Storage.open(path)
    assert [(key, revision) for key, revision, _ in again.load()] == [("/pods/a/x", 49)]
    again.close()


def test_objects_can_be_rewritten_without_a_new_revision(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    storage = Storage.open(path)
    storage.commit((Write("/pods/a/x", 2, b"one"), Write("/pods/a/y", 3, b"two")))
    storage.rewrite([Write("/pods/a/x", 2, b"other")])
    storage.rewrite([])
    storage.close()
    again = Storage.open(path)
    assert list(again.load()) == [("/pods/a/x", 2, b"other"), ("/pods/a/y", 3, b"two")]
    assert again.revision == 3
    again.close()


def test_objects_get_the_shape_of_their_schema_once(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    looked_at: list[str] = []

    def reshape(stored: Stored) -> bytes:
        looked_at.append(stored.key)
        return stored.data.replace(b"old", b"new")

    storage = Storage.open(path)
    store = Store(storage)
    for name, text in (("x", "old"), ("y", "other")):
        store.write(store.collection("g/things"), f"a/{name}", {"metadata": {}, "text": text}, expected=None)
    store.shape("g/things", b"first", reshape)
    store.shape("g/things", b"first", reshape)
    assert looked_at == ["a/x", "a/y"]
    storage.close()

    storage = Storage.open(path)
    again = Store(storage)
    again.shape("g/things", b"first", reshape)
    assert looked_at == ["a/x", "a/y"], "the shape is stored"
    assert [(each.key, each.revision, each.object["text"]) for each in again.collection("g/things").select()] == [
        ("a/x", 2, "new"),
        ("a/y", 3, "other"),
    ]
    again.shape("g/things", b"second", reshape)
    assert looked_at == ["a/x", "a/y"] * 2, "another schema may ask for another shape"
    storage.close()
