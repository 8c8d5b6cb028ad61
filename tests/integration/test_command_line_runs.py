"""Runs from the command line, on one cluster for all tests: start, see, follow, log, cancel, and the exit codes.

The cluster is one that ``bobrapet up`` has started, or the real control plane with an operator and a node.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.command_stand import open_line
from tests.integration.commandline import BOBRAPET, DEADLINE_SECONDS, CommandLine, Done, wait_until
from tools.control_plane.session import SessionCluster

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@dataclass(frozen=True)
class Stand:
    """A cluster with runs of three Stories: one that works, one that fails, one that waits for the file ``go``."""

    line: CommandLine
    namespace: str
    there: tuple[str, ...]
    """Options of ``run``, which would otherwise start its own cluster. The hints of ``run`` contain them, too."""
    works: Done
    fails: Done
    waits: Done

    def bobrapet(self, *arguments: str, stdin: str = "") -> Done:
        return self.line.quick(*arguments, stdin=stdin)

    @property
    def hinted(self) -> str:
        return "".join(f" {flag.replace('=', ' ', 1)}" for flag in self.there)

    def name(self, story: str) -> str:
        """The name of the newest run of a Story."""
        done = self.bobrapet("get", f"@latest:{story}", "--output=name")
        assert done.code == 0, done.err
        return done.out.strip().removeprefix("storyrun/")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, real: SessionCluster | None) -> Iterator[Stand]:
    with open_line(tmp_path_factory.mktemp("runs"), real) as (line, namespace):
        there = tuple(f"--kubeconfig={path}" for path in (line.environment.get("KUBECONFIG"),) if path)
        output = {"city": "Bern", "sizes": [1, 2]}
        works = line.bobrapet("run", line.story("one", "two", name="works", output=output), *there)
        fails = line.bobrapet("run", line.story("one", "fail-here", "after", name="fails"), *there)
        waits = line.bobrapet("run", line.story("slow-one", name="waits"), "--timeout=500ms", *there)
        yield Stand(line, namespace, there, works, fails, waits)


def test_a_run_in_a_pipe_tells_each_transition_and_prints_its_output(stand: Stand) -> None:
    run = stand.name("works")
    lines = stand.works.err.splitlines()

    assert stand.works.code == 0
    assert stand.works.out == "city: Bern\nsizes:\n- 1\n- 2\n"
    assert all(re.fullmatch(rf"{STAMP} {run}( [-\w]+)? \w+→\w+", line) for line in lines[:-1]), lines
    told = [line for line in lines if re.fullmatch(f"{STAMP} {run} one (Pending|Running)→Succeeded", line)]
    assert len(told) == 1, lines  # nobody is sure to see that it ran
    assert re.fullmatch(f"{STAMP} {run} (Pending|Running)→Succeeded", lines[-2])
    assert lines[-1] == f"{run} Succeeded; see the output again with: bobrapet outputs {run}{stand.hinted}"


def test_a_failed_run_ends_with_step_error_log_and_next_command(stand: Stand) -> None:
    run = stand.name("fails")
    report = stand.fails.err[stand.fails.err.index(f"{run}: Failed") :].splitlines()

    assert stand.fails.code == 3
    assert report[0].startswith(f"{run}: Failed: step fail-here failed: the container exited with code 3")
    assert report[1] == "step fail-here: Failed"
    assert "  type: execution_error" in report
    assert report[-22] == "last 20 log lines of fail-here:"
    assert "  | no such table" in report[-21:-1]
    assert report[-1] == f"more: bobrapet logs {run} fail-here{stand.hinted}"


def test_a_wait_that_is_too_short_tells_the_run_goes_on(stand: Stand) -> None:
    assert stand.waits.code == 124
    assert re.search(r"error: StoryRun 'waits-\w+' is still (Running|Pending) after 0.5 s", stand.waits.err)
    assert re.search(r"hint: the run continues; look again with: bobrapet watch waits-\w+", stand.waits.err)


def test_list_shows_runs_newest_first_and_narrows_them(stand: Stand) -> None:
    table = stand.bobrapet("list").out.splitlines()
    failed = stand.bobrapet("list", "--phase=Failed", "--output=name").out
    one_story = stand.bobrapet("list", "works", "--output=json")
    nothing = stand.bobrapet("list", "--namespace=empty")

    assert table[0].split() == ["NAME", "STORY", "PHASE", "STEPS", "WAITING-ON", "AGE", "DURATION"]
    assert [row.split()[1] for row in table[-3:]] == ["waits", "fails", "works"]
    assert [row.split()[3] for row in table[-2:]] == ["3/3", "2/2"]
    assert failed == f"storyrun/{stand.name('fails')}\n"
    assert {run["spec"]["storyRef"]["name"] for run in json.loads(one_story.out)["items"]} == {"works"}
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "no runs in namespace empty\n")


def test_get_explains_one_run_and_gives_it_to_programs(stand: Stand) -> None:
    text = stand.bobrapet("get", "@latest:fails").out
    phase = stand.bobrapet("get", "@latest:fails", "--output=jsonpath={.status.phase}").out
    missing = stand.bobrapet("get", "nothing")

    assert "✖ fail-here" in text
    assert "message: step fail-here failed" in text
    assert phase == "Failed\n"
    assert (missing.code, missing.err) == (
        1,
        f"error: no StoryRun 'nothing' in namespace {stand.namespace}\nhint: see them with: bobrapet list\n",
    )


def test_logs_of_one_step_are_prefixed_can_be_narrowed_and_are_records_for_programs(stand: Stand) -> None:
    one = stand.bobrapet("logs", "@latest:fails", "one").out
    narrowed = stand.bobrapet("logs", "@latest:fails", "--failed", "--tail=5", "--grep=table").out
    unknown = stand.bobrapet("logs", "@latest:fails", "fail-hre")
    record = json.loads(stand.bobrapet("logs", "@latest:fails", "one", "--output=json").out)
    raw = stand.bobrapet("logs", "@latest:fails", "one", "--raw").out

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z", record.pop("time"))
    assert record == {"step": "one", "attempt": 1, "line": "this is one"}
    assert raw == "this is one\n"
    assert one == "one[1] this is one\n"
    assert narrowed == "fail-here[1] no such table\n"
    assert (unknown.code, unknown.err.splitlines()[1]) == (1, "hint: did you mean 'fail-here'?")


def test_a_step_runs_again_on_this_machine_and_changes_nothing_in_the_cluster(stand: Stand) -> None:
    step = f"{stand.name('works')}/one"
    before = stand.bobrapet("get", step, "--output=json").out
    again = stand.bobrapet("debug", step, stand.line.images)

    assert (again.code, again.out) == (0, "this is one\n"), again.err
    assert "reported nothing: it does not use the SDK" in again.err
    assert stand.bobrapet("get", step, "--output=json").out == before


def test_a_dump_has_the_objects_logs_and_answers_of_a_failed_run(stand: Stand) -> None:
    run, place = stand.name("fails"), stand.line.folder / "dump.tar.gz"
    done = stand.bobrapet("dump", "@latest:fails", f"--file={place}")
    again = stand.bobrapet("dump", "@latest:fails", f"--file={place}")

    assert (done.code, done.out) == (0, f"{place}\n"), done.err
    assert place.stat().st_mode & 0o777 == 0o600
    with tarfile.open(place) as archive:
        named = {member.name.partition("/")[2]: member for member in archive.getmembers()}
        [log] = [member for name, member in named.items() if re.fullmatch(f"logs/{run}-fail-here-.*log", name)]
        file = archive.extractfile(log)
        assert file is not None
        assert b"no such table" in file.read()
    assert {"manifest.json", "run.json", "story.json", "why.txt", "timeline.json", "config.json"} <= set(named)
    assert {"doctor.json", "events.json", f"stepruns/{run}-one.json", "engramtemplates/shell.json"} <= set(named)
    assert (again.code, again.err.splitlines()[0]) == (1, f"error: {place} exists")


def test_doctor_examines_the_cluster_and_finds_no_problem_of_it(stand: Stand) -> None:
    done = stand.bobrapet("doctor", "--output=json")

    health = {each["check"]: each["health"] for each in json.loads(done.out)["checks"]}
    assert {health[name] for name in ("api-server", "your-permissions", "definitions", "leftovers")} == {"ok"}
    if not stand.there:  # on the real cluster of the tests, the operator is a process and admission is not installed
        assert done.code == 0
        assert "problem" not in health.values()
        assert (health["operator"], health["admission"]) == ("ok", "ok")


def test_outputs_are_json_whole_or_in_part(stand: Stand) -> None:
    assert json.loads(stand.bobrapet("outputs", "@latest:works").out) == {"city": "Bern", "sizes": [1, 2]}
    assert stand.bobrapet("outputs", "@latest:works", "--path=sizes[1]").out == "2\n"
    none = stand.bobrapet("outputs", "@latest:works", "one")
    assert (none.code, "has no output" in none.err) == (1, True)


def test_graph_draws_the_phases_of_a_run(stand: Stand) -> None:
    lines = stand.bobrapet("graph", "@latest:fails", "--ascii").out.splitlines()

    assert [line.split()[-3:] for line in lines[2:]] == [["fail-here", "<-", "one"], ["after", "<-", "fail-here"]]
    assert "flowchart LR" in stand.bobrapet("graph", "works", "--output=mermaid").out


def test_watching_an_ended_run_tells_when_things_happened_and_how_it_ended(stand: Stand) -> None:
    time.sleep(1.1)  # so that the present second is certainly another one
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    watched = stand.bobrapet("watch", "@latest:fails")
    waited = stand.bobrapet("wait", "@latest:works", "@latest:fails")

    transitions, _, report = watched.err.partition(f"{stand.name('fails')}: Failed")
    assert watched.code == 3
    assert all(line.split()[0] < before for line in transitions.splitlines())
    assert "  | no such table" in report
    assert waited.code == 3
    assert sorted(line.split()[1] for line in waited.out.splitlines()) == ["Failed", "Succeeded"]


def test_submit_prints_the_name_and_stays_when_asked(stand: Stand) -> None:
    submitted = stand.bobrapet("submit", "works", "--name=mine")
    again = stand.bobrapet("submit", "works", "--name=mine")
    logged = stand.bobrapet("submit", "works", "--logs")
    waited = stand.bobrapet("submit", "works", "--wait", "--output=json")
    named = stand.bobrapet("submit", "works", "--name=named", "--wait", "--output=name")
    unknown = stand.bobrapet("submit", "work")
    planned = stand.bobrapet("submit", "works", "--input=a.b=1", "--dry-run=client", "--output=json")
    alone = stand.bobrapet(
        "submit", "works", "--input=rate=1.10", "--dry-run=client", "--output=json", "--data=/no/cluster"
    )

    assert (submitted.code, submitted.out) == (0, "mine\n")
    assert (again.code, again.err.splitlines()[0]) == (7, "error: StoryRun 'mine' exists already")
    assert logged.code == 0
    assert "one[1] this is one" in logged.out
    assert json.loads(waited.out) == {"city": "Bern", "sizes": [1, 2]}
    assert named.out.splitlines() == ["storyrun/named"]
    assert (unknown.code, unknown.err) == (
        1,
        f"error: no Story 'work' in namespace {stand.namespace}\nhint: did you mean 'works'?\n",
    )
    assert json.loads(planned.out)["spec"] == {"storyRef": {"name": "works"}, "inputs": {"a": {"b": 1}}}
    assert json.loads(alone.out)["spec"] == {"storyRef": {"name": "works"}, "inputs": {"rate": "1.10"}}
    assert alone.err.startswith("the inputs were not checked: no embedded cluster serves")


def test_a_missing_secret_and_a_misspelt_input_are_said_at_the_start(stand: Stand) -> None:
    documents = [
        {
            "apiVersion": "catalog.bubustack.io/v1alpha1",
            "kind": "EngramTemplate",
            "metadata": {"name": "needy"},
            "spec": {"version": "v1", "supportedModes": ["job"], "image": "i", "secretSchema": {"mail": {}}},
        },
        {
            "apiVersion": "bubustack.io/v1alpha1",
            "kind": "Engram",
            "metadata": {"name": "needy"},
            "spec": {"templateRef": {"name": "needy"}, "secrets": {"mail": "gone"}},
        },
        {
            "apiVersion": "bubustack.io/v1alpha1",
            "kind": "Story",
            "metadata": {"name": "needy"},
            "spec": {
                "inputsSchema": {"properties": {"count": {"type": "integer"}}},
                "steps": [{"name": "send", "ref": {"name": "needy"}}],
            },
        },
    ]
    stand.line.file("needy.yaml", "---\n".join(f"{json.dumps(each)}\n" for each in documents))
    secret = (
        f"warning: Secret 'gone', which step 'send' needs, does not exist in namespace {stand.namespace} (create it: "
        f"kubectl create secret generic gone --namespace {stand.namespace} --from-literal=KEY=…)"
    )

    ran = stand.bobrapet("run", "needy.yaml", *stand.there)
    submitted = stand.bobrapet("submit", "needy", "--name=needy-1", "--input=cuont=3")
    triggered = stand.bobrapet("trigger", "needy", "--submission-id=needy-2", "--no-wait")

    assert ran.code != 0
    assert secret in ran.err.splitlines()
    assert (submitted.code, submitted.out) == (0, "needy-1\n")
    assert submitted.err.splitlines() == [
        "warning: input cuont is not in the inputsSchema of Story 'needy': did you mean 'count'?",
        secret,
    ]
    assert (triggered.code, triggered.err.splitlines()) == (0, [secret])


def test_a_key_starts_one_run_however_often_it_is_submitted(stand: Stand) -> None:
    first = stand.bobrapet("submit", "works", "--key=order 42", "--wait")
    again = stand.bobrapet("submit", "works", "--key=order 42")
    other = stand.bobrapet("submit", "works", "--key=order 42", "--input=city=Basel")

    assert (first.code, again.code) == (0, 0), first.err
    assert re.fullmatch(r"works-order-42-\w+ Created", first.out.splitlines()[0])
    assert again.out == first.out.splitlines()[0].replace("Created", "Reused") + "\n"
    assert other.code == 7
    assert re.match(r"error: Rejected: run works-order-42-\w+ has the key 'order 42' and other inputs\n", other.err)


def test_inputs_that_are_missing_are_asked_for_on_a_terminal_and_refused_in_a_pipe(stand: Stand) -> None:
    properties = {"city": {"type": "string", "minLength": 2, "description": "where to look"}, "days": {"minimum": 1}}
    schema = {"type": "object", "required": ["city", "days"], "properties": properties}
    file = stand.line.story("one", name="asks", inputsSchema=schema, output={"city": "{{ inputs.city }}"})
    refused = stand.bobrapet("run", file, "--input=days=1", *stand.there)
    with on_a_terminal(stand, "run", file, *stand.there) as (run, terminal):
        _read_to(terminal, "city (string; where to look): ")
        os.write(terminal, b"B\n")
        assert "  city: a string is shorter" in _read_to(terminal, "city (string; where to look): ")
        os.write(terminal, b"Bern\n")
        _read_to(terminal, "days: ")
        os.write(terminal, b"3\n")
        said = _read_all(terminal)
        out, _ = run.communicate(timeout=DEADLINE_SECONDS)
    inputs = stand.bobrapet("get", "@latest:asks", "--output=jsonpath={.spec.inputs}")

    assert (refused.code, refused.out) == (2, "")
    assert "city" in refused.err
    assert (run.returncode, out) == (0, "city: Bern\n"), said
    assert json.loads(inputs.out) == {"city": "Bern", "days": 3}


def test_ctrl_c_at_a_question_starts_nothing(stand: Stand) -> None:
    schema = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
    file = stand.line.story("one", name="never", inputsSchema=schema)
    with on_a_terminal(stand, "run", file, *stand.there) as (run, terminal):
        _read_to(terminal, "city (string): ")
        run.send_signal(signal.SIGINT)
        assert "Traceback" not in _read_all(terminal)
        run.wait(DEADLINE_SECONDS)

    assert run.returncode == 130
    assert stand.bobrapet("get", "@latest:never").code == 1


def test_several_runs_are_canceled_after_a_yes(stand: Stand) -> None:
    names = {stand.bobrapet("submit", "waits").out.strip() for _ in range(2)}
    in_a_pipe = stand.bobrapet("cancel", *names)
    with on_a_terminal(stand, "cancel", *names, "--message=enough") as (cancel, terminal):
        _read_to(terminal, "cancel these 2 runs? [y/N] ")
        os.write(terminal, b"y\n")
        said = _read_all(terminal)
        out, _ = cancel.communicate(timeout=DEADLINE_SECONDS)

    assert (in_a_pipe.code, in_a_pipe.err.splitlines()[-2:]) == (
        1,
        ["error: nothing was canceled", "hint: confirm with --yes"],
    )
    assert (cancel.returncode, {line.split()[0] for line in out.splitlines()}) == (0, names), said


def test_outputs_can_be_saved_as_files(stand: Stand) -> None:
    saved = stand.bobrapet("outputs", "@latest:works", "--save=kept")

    assert (saved.code, saved.out) == (0, "kept/output.json\n")
    assert json.loads((stand.line.folder / "kept" / "output.json").read_text()) == {"city": "Bern", "sizes": [1, 2]}


def test_logs_of_an_attempt_before_the_only_one_are_missing(stand: Stand) -> None:
    done = stand.bobrapet("logs", "@latest:works", "one", "--previous")

    assert done.code == 1
    assert done.err.startswith("error: there is no log of a previous attempt of one")


def test_following_logs_a_detached_watch_and_cancel(stand: Stand) -> None:
    (stand.line.folder / "began").unlink(missing_ok=True)
    name = stand.bobrapet("submit", "waits").out.strip()
    with stand.line.started("logs", name, "--follow") as logs, stand.line.started("watch", name) as watch:
        assert logs.stdout is not None
        assert logs.stdout.readline() == "slow-one[1] this is slow-one\n"
        assert watch.stderr is not None
        watch.stderr.readline()
        watch.send_signal(signal.SIGINT)
        _, farewell = watch.communicate(timeout=DEADLINE_SECONDS)
        canceled = stand.bobrapet("cancel", name)
        logs.communicate(timeout=DEADLINE_SECONDS)
    again = stand.bobrapet("cancel", name)
    waited = stand.bobrapet("wait", name)

    assert watch.returncode == 130
    assert f"detached from {name}; the run continues: bobrapet watch {name}\n" in farewell
    assert f"cancel it with: bobrapet cancel {name}\n" in farewell
    assert logs.returncode == 0
    assert canceled.code == 0, canceled.err
    assert canceled.out.split()[0] == name
    assert again.err == f"{name} has ended already: {canceled.out.split()[1]}\n"
    assert waited.code == 5


def test_a_step_whose_program_is_missing_says_so_while_it_waits(stand: Stand) -> None:
    file = stand.line.story("one", name="unmapped")
    text = (stand.line.folder / file).read_text().replace("shell", "unmapped").replace("worker", "unmapped")
    (stand.line.folder / file).write_text(text)
    with stand.line.started("run", file, "--cancel-on-interrupt", *stand.there) as run:
        assert run.stderr is not None
        line = next(line for line in run.stderr if "the image map has no program for it" in line)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=DEADLINE_SECONDS)

    assert "ImagePull" in line or "Image cannot be pulled" in line
    assert "add an entry to" in line
    assert run.returncode == 130


def test_a_terminal_gets_a_tree_that_is_redrawn_and_a_pipe_the_output(stand: Stand) -> None:
    """Standard error is a terminal, but standard output is not."""
    main, child = pty.openpty()
    with subprocess.Popen(
        [*BOBRAPET, "run", "works.yaml", *stand.there],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=child,
        env={**stand.line.env, "TERM": "xterm"},
        cwd=stand.line.folder,
        text=True,
    ) as run:
        os.close(child)
        screen = _read_all(main)
        out, _ = run.communicate(timeout=DEADLINE_SECONDS)

    assert run.returncode == 0
    assert out.startswith("city: Bern\n")
    assert "\x1b[3F\x1b[J" in screen
    assert re.search(r"✔ two\s+Succeeded", screen)
    assert "\x1b[32m" in screen


@contextmanager
def on_a_terminal(stand: Stand, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the command with a terminal for questions, answers and notes. Its results go to a pipe."""
    main, child = pty.openpty()
    with subprocess.Popen(
        [*BOBRAPET, *arguments],
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=child,
        env={**stand.line.env, "TERM": "xterm"},
        cwd=stand.line.folder,
        text=True,
    ) as process:
        os.close(child)
        try:
            yield process, main
        finally:
            if process.poll() is None:
                process.kill()


def _read_to(terminal: int, text: str) -> str:
    """The text on the terminal, once it ends with ``text``."""
    said = ""
    while not said.endswith(text):
        ready, _, _ = select.select([terminal], [], [], DEADLINE_SECONDS)
        assert ready, said
        said += os.read(terminal, 65536).decode()
    return said


def _read_all(terminal: int) -> str:
    """All text written to a terminal, once every writer has closed it."""
    said = b""
    with open(terminal, "rb", buffering=0) as stream:
        while True:
            try:
                said += stream.read(65536)
            except OSError:
                return said.decode()


def test_versions_and_the_plugin_name(stand: Stand) -> None:
    plugin = Path(BOBRAPET[0]).with_name("kubectl-bobrapet")
    done = subprocess.run([plugin, "version"], env=stand.line.env, capture_output=True, text=True, check=True)

    assert re.fullmatch(r"bobrapet \S+\nkubernetes v1\.\S+\n", done.stdout)
    assert stand.bobrapet("version", "--client").out.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(stand: Stand) -> None:
    with stand.line.started("list", "--output=yaml") as listing:
        assert listing.stdout is not None
        listing.stdout.close()
        assert listing.stderr is not None
        err = listing.stderr.read()
        listing.wait(DEADLINE_SECONDS)

    assert (listing.returncode, err) == (0, "")


def test_the_waiting_run_ends_once_it_may(stand: Stand) -> None:
    runs = stand.bobrapet("list", "waits", "--phase=Running", "--output=name").out.split()
    (stand.line.folder / "go").touch()
    ended = stand.bobrapet("wait", *(run.removeprefix("storyrun/") for run in runs), "--timeout=20s")

    assert ended.code == 0, ended.err
    assert wait_until(lambda: not stand.bobrapet("list", "--phase=Running", "--output=name").out) is True
