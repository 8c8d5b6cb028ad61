"""The embedded cluster from the command line: up and down, hostile circumstances, and killed processes."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commandline import BOBRAPET, DEADLINE_SECONDS, CommandLine, kill, wait_until


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path)
    yield line
    if line.processes():
        line.quick("down")
    line.wait_until_nothing_runs()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """The output of the command up to the line with ``text``."""
    assert process.stderr is not None
    said = ""
    for read in process.stderr:
        said += read
        if text in read:
            return said
    raise AssertionError(f"ended without {text!r}: {said}")


def test_up_serves_until_down_and_its_data_stays(line: CommandLine) -> None:
    line.data.mkdir(mode=0o755)
    up = line.bobrapet("up")
    open_to_others = [path for path in (line.data, *line.data.rglob("*")) if path.lstat().st_mode & 0o077]
    assert (up.code, up.out) == (0, f"{line.data}/kubeconfig\n"), up.err
    assert f"export KUBECONFIG={line.data}/kubeconfig" in up.err
    again = line.bobrapet("up")
    other_port = line.bobrapet("up", "--port=1")
    down = line.bobrapet("down")
    line.wait_until_nothing_runs()
    nothing = line.quick("down")

    assert [path for path in open_to_others if not path.is_symlink()] == []
    assert (again.code, again.out) == (0, up.out), again.err
    assert again.err.startswith("already serving https://127.0.0.1:")
    assert other_port.code == 1
    assert other_port.err.startswith(f"error: an embedded cluster serves {line.data} already (process ")
    assert f"bobrapet down --data {line.data}" in other_port.err
    assert (down.code, down.err) == (0, f"stopped; the data stays in {line.data}\n")
    assert (nothing.code, nothing.err) == (0, f"no embedded cluster serves {line.data}\n")
    assert (line.data / "cluster.db").exists()
    assert (line.data / "operator.kubeconfig").stat().st_mode & 0o777 == 0o600, "an identity of its own"


def test_a_port_in_use_is_named_and_nothing_is_left(line: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = line.bobrapet("up", f"--port={port}")

    assert up.code == 1
    assert up.err.startswith(f"error: the embedded cluster did not start: port {port}: in use by another process")
    assert up.err.count("\n") == 1
    line.wait_until_nothing_runs()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    line = CommandLine(tmp_path)

    for verb in (("up",), ("run", line.story("one"))):
        done = line.bobrapet(*verb)

        assert done.code == 1
        assert f"error: cannot write {line.data}: " in done.err
        assert "choose another folder with --data" in done.err


def test_a_folder_that_others_can_enter_and_use_is_refused(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    line.data.mkdir(mode=0o755)
    (line.data / "of-somebody").touch()

    for verb in (("up",), ("run", line.story("one"))):
        done = line.bobrapet(*verb)

        assert done.code == 1
        assert f"error: other users can enter {line.data} (mode 0755)" in done.err
        assert f"chmod 700 {line.data}" in done.err
    assert [path.name for path in line.data.iterdir()] == ["of-somebody"]


def test_a_full_disk_is_said_in_one_line(line: CommandLine) -> None:
    done = subprocess.run(
        [*BOBRAPET, "up"],
        env=line.env,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)),
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: the embedded cluster did not start: ")
    assert "Traceback" not in done.stderr
    assert "full" in done.stderr
    line.wait_until_nothing_runs()


def test_an_image_map_that_cannot_be_read_is_named(line: CommandLine) -> None:
    done = line.bobrapet("run", line.story("one"), "--image-map=missing.yaml")

    assert (done.code, done.err) == (
        2,
        "error: --image-map: missing.yaml does not exist\nhint: check the path\n",
    )
    line.wait_until_nothing_runs()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_while_the_cluster_starts_leaves_nothing(line: CommandLine, number: signal.Signals, code: int) -> None:
    with line.started("run", line.story("one"), line.images) as run:
        read_until(run, "starting the embedded cluster")
        processes = wait_until(line.processes)
        run.send_signal(number)
        _, err = run.communicate(timeout=DEADLINE_SECONDS)

    assert run.returncode == code
    assert "Traceback" not in err
    line.wait_until_nothing_runs(processes)


def test_a_signal_while_up_starts_leaves_nothing(line: CommandLine) -> None:
    with line.started("up") as up:
        processes = wait_until(line.processes)
        up.send_signal(signal.SIGINT)
        _, err = up.communicate(timeout=DEADLINE_SECONDS)

    assert (up.returncode, "Traceback" in err) == (130, False)
    line.wait_until_nothing_runs(processes)


def test_a_run_that_is_left_is_taken_up_where_it_was(line: CommandLine) -> None:
    """Ctrl-C detaches. The next cluster on the same folder continues the run."""
    with line.started("run", line.story("slow-one", "two"), line.images) as run:
        wait_until((line.folder / "began").exists)
        processes = line.processes()
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGINT)  # an impatient user, while everything stops
        _, err = run.communicate(timeout=DEADLINE_SECONDS)
    line.wait_until_nothing_runs(processes)
    (line.folder / "go").touch()
    up = line.bobrapet("up", "--quiet", line.images)
    ended = line.quick("watch", "@latest", "--timeout=20s")

    assert run.returncode == 130
    assert "detached from story-" in err
    assert "bobrapet up && bobrapet watch story-" in err
    assert (up.code, ended.code) == (0, 0), ended.err


def test_a_run_may_be_canceled_by_the_interrupt(line: CommandLine) -> None:
    with line.started("run", line.story("slow-one"), line.images, "--cancel-on-interrupt") as run:
        wait_until((line.folder / "began").exists)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=DEADLINE_SECONDS)

    assert run.returncode == 130
    assert err.rstrip().endswith("was canceled")


def test_a_killed_command_takes_its_cluster_with_it(line: CommandLine) -> None:
    with line.started("run", line.story("slow-one"), line.images) as run:
        wait_until((line.folder / "began").exists)
        processes = line.processes()
        assert len(processes) >= 5  # cluster, operator, node, launcher, step
        run.kill()
        run.communicate()

    line.wait_until_nothing_runs(processes)


def test_a_killed_cluster_takes_everything_with_it_and_the_command_says_so(line: CommandLine) -> None:
    with line.started("run", line.story("slow-one"), line.images) as run:
        wait_until((line.folder / "began").exists)
        processes = line.processes()
        kill(line.process("cli.embedded --data"))
        _, err = run.communicate(timeout=DEADLINE_SECONDS)

    assert run.returncode == 1
    assert f"error: the embedded cluster in {line.data} ended unexpectedly" in err
    assert "Traceback" not in err
    line.wait_until_nothing_runs(processes)


def test_a_killed_operator_is_started_again_and_the_run_goes_on(line: CommandLine) -> None:
    with line.started("run", line.story("slow-one", "two"), line.images) as run:
        wait_until((line.folder / "began").exists)
        operator = line.process("cli manager --attached")
        kill(operator)
        wait_until(lambda: line.process("cli manager --attached") != operator)
        (line.folder / "go").touch()
        _, err = run.communicate(timeout=DEADLINE_SECONDS)

    assert run.returncode == 0, err
    assert "→Succeeded" in err


def test_a_killed_node_is_started_again_and_the_step_begins_anew(line: CommandLine) -> None:
    with line.started("run", line.story("slow-one", "two"), line.images) as run:
        wait_until((line.folder / "began").exists)
        node = line.process("localcluster.node")
        (line.folder / "began").unlink()
        kill(node)
        wait_until((line.folder / "began").exists)
        (line.folder / "go").touch()
        _, err = run.communicate(timeout=DEADLINE_SECONDS)

    assert run.returncode == 0, err
    assert "the node ended and is started again" in (line.data / "cluster.log").read_text()


def test_two_runs_share_a_cluster_that_ends_with_the_last(line: CommandLine) -> None:
    with line.started("run", line.story("one", name="first"), line.images) as first:
        read_until(first, "starting")
        with line.started("run", line.story("slow-one", name="second"), line.images) as second:
            _, said = first.communicate(timeout=DEADLINE_SECONDS)
            wait_until(lambda: (line.folder / "began").exists() or second.poll() is not None)
            assert second.poll() is None, second.communicate(timeout=DEADLINE_SECONDS)
            processes = line.processes()
            (line.folder / "go").touch()
            _, err = second.communicate(timeout=DEADLINE_SECONDS)

    assert (first.returncode, second.returncode) == (0, 0), said + err
    line.wait_until_nothing_runs(processes)


def test_up_keeps_the_cluster_of_a_run_and_merges_its_image_map(line: CommandLine) -> None:
    with line.started("run", line.story("slow-one", name="first"), line.images) as run:
        wait_until((line.folder / "began").exists)
        (line.folder / "more.yaml").write_text('{"images": {"more:1": {"command": ["true"]}}}')
        up = line.bobrapet("up", f"--image-map={line.folder / 'more.yaml'}")
        (line.folder / "go").touch()
        _, err = run.communicate(timeout=DEADLINE_SECONDS)
    again = line.bobrapet("up")
    listed = line.bobrapet("list", "-o", "name")
    down = line.bobrapet("down")
    line.wait_until_nothing_runs()

    assert (run.returncode, up.code) == (0, 0), err + up.err
    assert (again.code, again.out) == (0, up.out), again.err
    assert listed.out.strip().startswith("storyrun/first-"), listed.err
    assert '"more:1"' in (line.data / "images.yaml").read_text()
    assert down.code == 0


def test_an_ephemeral_cluster_stays_in_the_foreground_and_leaves_no_folder(line: CommandLine) -> None:
    with line.started("up", "--ephemeral") as up:
        assert up.stdout is not None
        kubeconfig = Path(up.stdout.readline().strip())
        assert kubeconfig.exists()
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=DEADLINE_SECONDS)

    assert up.returncode == 130
    assert not kubeconfig.parent.exists()
    assert not line.data.exists()
