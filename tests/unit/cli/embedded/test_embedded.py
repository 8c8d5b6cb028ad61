"""The content of the data folder, and who may use it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from cli.embedded import folder, usage
from cli.embedded.filelock import is_held, open_lock
from cli.embedded.folder import EmbeddedCluster, EmbeddedError
from cli.embedded.images import keep_image_map, use_image_map
from cli.embedded.process import serving
from localcluster.node.images import ImageMap


def a_cluster(data: Path, **changed: Any) -> EmbeddedCluster:
    fields: dict[str, Any] = {
        "url": "https://127.0.0.1:1",
        "kubeconfig": data / "kubeconfig",
        "pid": 7,
        "metrics_url": "",
        **changed,
    }
    return EmbeddedCluster(data=data, **fields)


def test_the_folder_is_chosen_by_flag_then_variable_then_custom(tmp_path: Path) -> None:
    environ = {"BOBRAPET_DATA": str(tmp_path / "variable"), "XDG_DATA_HOME": str(tmp_path / "xdg")}

    assert folder.data_folder(tmp_path / "flag", environ) == tmp_path / "flag"
    assert folder.data_folder(None, environ) == tmp_path / "variable"
    assert folder.data_folder(None, {"XDG_DATA_HOME": str(tmp_path / "xdg")}) == tmp_path / "xdg" / "bobrapet"


def test_a_lock_is_exclusive_shared_and_given_back(tmp_path: Path) -> None:
    with open_lock(tmp_path / "lock") as first, open_lock(tmp_path / "lock") as second:
        assert first.try_shared()
        assert second.try_shared()
        assert not second.try_exclusive()
        first.release()
        assert second.try_exclusive()
        assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "never" / "was")


def test_a_cluster_is_seen_while_it_is_served_and_published(tmp_path: Path) -> None:
    cluster = a_cluster(tmp_path, on_demand=True)
    with serving(tmp_path):
        assert folder.running(tmp_path) is None
        folder.publish(cluster)
        assert folder.running(tmp_path) == cluster
        assert folder.server_of(tmp_path) is not None

    assert folder.running(tmp_path) is None
    assert folder.server_of(tmp_path) is None


def test_what_a_killed_cluster_left_behind_is_not_believed(tmp_path: Path) -> None:
    folder.publish(a_cluster(tmp_path))

    assert folder.running(tmp_path) is None


def test_a_damaged_state_is_no_cluster(tmp_path: Path) -> None:
    with serving(tmp_path):
        (tmp_path / folder.STATE_FILE).write_text('{"url": 1}')

        assert folder.running(tmp_path) is None


def test_a_second_server_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with serving(tmp_path), pytest.raises(EmbeddedError, match="bobrapet down --data"), serving(tmp_path):
        pass


async def test_a_running_cluster_is_used_and_left_alone(tmp_path: Path) -> None:
    with served(tmp_path) as cluster:
        async with usage.open_cluster(tmp_path) as used:
            assert used == cluster
            assert usage.in_use(tmp_path)
        assert not usage.in_use(tmp_path)
        assert folder.running(tmp_path) == cluster


async def test_image_maps_add_up_and_the_last_to_name_an_image_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    data = tmp_path / "data"
    data.mkdir()
    for name, text in (
        ("one", "{images: {a: {command: [./run, $(PYTHON)], env: {PRICE: $$5 and $X}}, b: {command: ['1']}}}"),
        ("two", "{images: {b: {command: ['2']}, c: {command: ['3']}}}"),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)

    use_image_map(data, tmp_path / "one.yaml")
    use_image_map(data, tmp_path / "two.yaml")
    composed = ImageMap(use_image_map(data))

    assert composed.find("a").command == (f"{tmp_path}/run", sys.executable)
    assert composed.find("a").env == {"PRICE": "$5 and $X"}
    assert composed.find("a").workdir == str(tmp_path)
    assert [composed.find(name).command for name in "bc"] == [("2",), ("3",)]
    use_image_map(data, tmp_path / "one.yaml")
    assert ImageMap(data / "images.yaml").find("b").command == ("1",)


async def test_a_map_that_changes_is_taken_in_and_a_damaged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    source = tmp_path / "map.yaml"
    source.write_text("{images: {a: {command: ['1']}}}")
    use_image_map(tmp_path, source)
    nursery.start_soon(keep_image_map, tmp_path)
    for text, command in [("{images: {a: {command: ['22']}}}", "22"), ("{images: [damaged", "22")]:
        source.write_text(text)
        await trio.sleep(2)

        assert ImageMap(tmp_path / "images.yaml").find("a").command == (command,)


async def test_what_breaks_because_the_cluster_ended_is_said_to_have(tmp_path: Path) -> None:
    async def use_until_it_breaks(end: Callable[[], None]) -> None:
        async with usage.open_cluster(tmp_path):
            end()  # the lock is freed, as the kernel does for a killed process
            raise ConnectionError

    with ExitStack() as cluster:
        cluster.enter_context(served(tmp_path))
        (tmp_path / folder.LOG_FILE).write_text("first\nerror: the last words\n")
        with pytest.raises(EmbeddedError, match="ended unexpectedly: the last words"):
            await use_until_it_breaks(cluster.close)


def test_last_words_are_those_of_this_start_only(tmp_path: Path) -> None:
    log = tmp_path / folder.LOG_FILE
    log.write_text("error: of an earlier start\n")
    before = log.stat().st_size

    assert folder.last_words(tmp_path, since=before) == "it wrote no message"
    assert folder.last_words(tmp_path) == "of an earlier start"
    assert folder.last_words(tmp_path / "nothing") == "it left no log"


@contextmanager
def served(data: Path, **changed: object) -> Iterator[EmbeddedCluster]:
    with serving(data):
        cluster = a_cluster(data, **changed)
        folder.publish(cluster)
        yield cluster
