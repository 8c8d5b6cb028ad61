"""Runs that wait for a user, redrives, and requests, from the command line: one cluster for all tests.

The cluster is one that ``bobrapet up`` has started, or the real control plane with an operator and a node.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from core.api.objects import Object
from tests.integration.command_stand import open_line
from tests.integration.commandline import MANIFESTS, CommandLine, Done, wait_until
from tools.control_plane.session import SessionCluster


def gate(name: str, **parameters: str) -> Object:
    return {"name": name, "type": "gate", **({"with": parameters} if parameters else {})}


def engram(name: str, *needs: str) -> Object:
    return {"name": name, "ref": {"name": "worker"}, "needs": list(needs)}


STORIES: dict[str, list[Object]] = {
    "release": [
        engram("build"),
        gate("approve", timeout="24h", onTimeout="skip"),
        {"name": "fan", "type": "parallel", "with": {"steps": [gate("legal"), engram("docs")]}},
        engram("publish", "approve", "fan", "build"),
    ],
    "deploy": [gate("go")],
    "ticketed": [
        gate("approve"),
        engram("work", "approve"),
        {"name": "only-if", "type": "condition", "needs": ["work"], "if": "steps.approve.output.ticket == 'OPS-17'"},
        {**engram("echo", "only-if"), "with": {"said": "{{ steps.approve.output.ticket }}"}},
    ],
    "calls": [{"name": "sub", "type": "executeStory", "with": {"storyRef": {"name": "deploy"}}}],
    "mounts": [
        {
            **engram("train"),
            "execution": {
                "sharedMemory": "64Mi",
                "volumes": [
                    {"name": "d", "mountPath": "/bubu-test-data", "persistentVolumeClaim": {"claimName": "data"}}
                ],
            },
        }
    ],
    "breaks": [engram("one"), engram("fail-here", "one"), engram("after", "fail-here")],
}


@dataclass(frozen=True)
class Stand:
    line: CommandLine
    namespace: str

    def bobrapet(self, *arguments: str) -> Done:
        return self.line.quick(*arguments)

    def start(self, story: str, *options: str) -> str:
        """Start a run; returns its name. With ``--wait`` the run has ended, well or not."""
        done = self.bobrapet("submit", story, *options)
        assert done.code in (0, 3), done.err
        return done.out.splitlines()[0]

    def waiting(self, *gates: str) -> None:
        """Return once all these gates, ``RUN/GATE``, are open."""
        wait_until(lambda: set(gates) <= set(self.bobrapet("gates", "--output=name").out.split()))

    def read(self, run: str, path: str) -> str:
        return self.bobrapet("get", run, f"--output=jsonpath={{{path}}}").out.strip()


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, real: SessionCluster | None) -> Iterator[Stand]:
    with open_line(tmp_path_factory.mktemp("waiting"), real) as (line, namespace):
        stand = Stand(line, namespace)
        apply(stand, line.folder / "stories.yaml")
        yield stand


CLAIM = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def apply(stand: Stand, file: Path, manifests: str = MANIFESTS, stories: dict[str, list[Object]] = STORIES) -> None:
    """Apply manifests and Stories by running a Story that ends at once."""
    with file.open("w") as stream:
        stream.write(manifests)
        at_once = {"at-once": [{"name": "nothing", "type": "condition"}]}
        for name, steps in {**stories, **at_once}.items():
            stream.write("---\n")
            story = {"kind": "Story", "metadata": {"name": name}, "spec": {"steps": steps}}
            YAML().dump({"apiVersion": "bubustack.io/v1alpha1", **story}, stream)
    there = [f"--kubeconfig={path}" for path in (stand.line.environment.get("KUBECONFIG"),) if path]
    done = stand.line.bobrapet("run", file.name, "--story=at-once", *there)
    assert done.code == 0, done.err


def test_a_run_goes_on_once_its_gates_are_approved(stand: Stand) -> None:
    run = stand.start("release")
    stand.waiting(f"{run}/approve", f"{run}/fan/legal")

    shown = stand.bobrapet("get", run).out
    table = stand.bobrapet("gates", "--output=wide").out.splitlines()
    by_name = stand.bobrapet("approve", run, "approve", "--message=looks good")
    in_one_word = stand.bobrapet("approve", f"{run}/fan/legal")
    again = stand.bobrapet("approve", run, "legal")
    ended = stand.bobrapet("wait", run, "--timeout=20s")
    late = stand.bobrapet("reject", run, "approve")

    assert f"bobrapet approve {run} approve" in shown
    assert "    legal" in shown.replace("ǁ ", "  ")
    assert table[0].split() == ["NAMESPACE", "RUN", "GATE", "SINCE", "UNTIL", "STORY", "APPROVE"]
    assert f"bobrapet approve {run} fan/legal" in "\n".join(table)
    assert (by_name.code, by_name.out) == (0, f"gate approve of {run} Approved\n"), by_name.err
    assert (in_one_word.code, in_one_word.out) == (0, f"gate fan/legal of {run} Approved\n"), in_one_word.err
    assert again.code == 0
    assert "was Approved by" in again.err
    assert (ended.code, ended.out) == (0, f"{run} Succeeded\n"), ended.err
    assert stand.read(run, ".status.stepStates.approve.message") == "looks good"
    assert late.code == 1
    assert f"error: gate approve of {run} was Approved by" in late.err


def test_later_steps_read_what_is_given_with_an_approval(stand: Stand) -> None:
    run = stand.start("ticketed")
    stand.waiting(f"{run}/approve")

    wrong = stand.bobrapet("approve", run, "approve", "--data=ticket", "--data=a.b=1")
    nothing = stand.bobrapet("reject", run, "approve", "--data=ticket=OPS-17")
    approved = stand.bobrapet("approve", run, "approve", "--data=ticket=OPS-17", "--data=note={{ inputs }}")
    other = stand.bobrapet("approve", run, "approve", "--data=ticket=OPS-18")
    ended = stand.bobrapet("wait", run, "--timeout=30s")
    given = stand.bobrapet("outputs", run, "approve", "--path=ticket")

    assert (wrong.code, nothing.code) == (2, 2)
    assert "error: --data 'ticket' must be key=text\n--data 'a.b': templates cannot read this key\n" in wrong.err
    assert "error: --data is an option of approve only\n" in nothing.err
    told = f"gate approve of {run} Approved with ticket, note\n"
    assert (approved.code, approved.out) == (0, told), approved.err
    assert other.code == 1
    assert "already, and not with this --data" in other.err
    assert (ended.code, ended.out) == (0, f"{run} Succeeded\n"), ended.err
    assert stand.read(run, ".status.gates.approve.data.note") == "{{ inputs }}"
    assert stand.read(run, ".status.stepStates.only-if.phase") == "Succeeded"
    assert (given.code, given.out) == (0, "OPS-17\n"), given.err


def test_a_gate_that_is_rejected_early_fails_the_run(stand: Stand) -> None:
    run = stand.start("deploy")

    rejected = stand.bobrapet("reject", run, "go", "--message=not today")
    ended = stand.bobrapet("wait", run, "--timeout=20s")
    late = stand.bobrapet("approve", run, "go")
    why = stand.bobrapet("why", run)

    assert rejected.code == 0, rejected.err
    assert ended.code == 3
    assert late.code == 1
    assert "step go ended Failed: not today" in why.out
    assert f"bobrapet retry {run} --from go" in why.out


def test_a_pipeline_can_leave_when_a_person_is_asked(stand: Stand) -> None:
    submitted = stand.bobrapet("submit", "deploy", "--exit-on-gate", "--timeout=20s")
    run = submitted.out.splitlines()[0]
    followed = stand.bobrapet("submit", "release", "--logs", "--exit-on-gate", "--timeout=20s")
    other = followed.out.splitlines()[0]
    watched = stand.bobrapet("watch", run, "--exit-on-gate", "--timeout=20s")
    stand.bobrapet("approve", run, "go")
    both = stand.bobrapet("wait", run, other, "--exit-on-gate", "--timeout=20s")
    alone = stand.bobrapet("wait", run, "--exit-on-gate", "--timeout=20s")
    stand.bobrapet("cancel", other, "--yes")

    assert submitted.code == 6, submitted.err
    assert submitted.err.splitlines() == [f"{run} waits at gate go; decide with:", f"  bobrapet approve {run} go"]
    assert followed.code == 6, followed.err
    assert (watched.code, watched.out) == (6, "")
    assert both.code == 6
    assert sorted(both.out.splitlines()) == sorted([f"{run} Succeeded", f"{other} Running"])
    assert f"bobrapet approve {other} fan/legal" in both.err
    assert (alone.code, alone.out) == (0, f"{run} Succeeded\n")


def test_gates_that_nobody_knows_are_named(stand: Stand) -> None:
    run = stand.start("release")
    stand.waiting(f"{run}/approve")

    misspelt = stand.bobrapet("approve", run, "aprove")
    none = stand.bobrapet("approve", run)
    dry = stand.bobrapet("approve", run, "approve", "--dry-run=server")
    still = stand.bobrapet("gates", "--output=name").out.split()
    stand.bobrapet("cancel", run)
    nowhere = stand.bobrapet("gates", "--namespace=empty")

    assert (misspelt.code, misspelt.err) == (
        1,
        f"error: run {run} has no gate 'aprove'\nhint: did you mean 'approve'?\n",
    )
    assert none.code == 2
    assert f"error: name the gate of {run} to approve: approve, fan/legal\n" in none.err
    assert (dry.code, f"{run}/approve" in still) == (0, True)
    assert (nowhere.code, nowhere.out, nowhere.err) == (0, "", "no run in namespace empty waits at a gate\n")


def test_why_follows_a_run_into_the_one_it_waits_for(stand: Stand) -> None:
    run = stand.start("calls")
    stand.waiting(f"{run}-sub/go")
    wait_until(lambda: stand.read(run, ".status.stepStates.sub.phase") == "Running")  # up to a second later

    text = stand.bobrapet("why", run)
    document = json.loads(stand.bobrapet("why", f"{run}/sub", "--output=json").out)
    stand.bobrapet("approve", f"{run}-sub", "go")
    ended = stand.bobrapet("wait", run, "--timeout=20s")
    afterwards = stand.bobrapet("why", run)

    assert text.code == 0, text.err
    assert "step go waits for approval\n" in text.out
    assert f"  through sub → run {run}-sub\n" in text.out
    (cause,) = document["causes"]
    assert (cause["kind"], cause["run"], cause["step"]) == ("gate", f"{run}-sub", "go")
    assert cause["commands"][0] == f"bobrapet approve {run}-sub go"
    assert ended.code == 0, ended.err
    assert (afterwards.code, afterwards.out.splitlines()[-1]) == (0, f"{run} has ended Succeeded; it waits for nothing")


def test_why_names_what_a_step_that_has_not_begun_needs(stand: Stand) -> None:
    run = stand.start("release")
    stand.waiting(f"{run}/approve")

    why = stand.bobrapet("why", f"{run}/publish").out
    unknown = stand.bobrapet("why", f"{run}/publsh")
    stand.bobrapet("cancel", run)

    assert "step publish needs approve (Paused)" in why
    assert "step approve waits for approval" in why
    assert "then the step is skipped" in why
    assert (unknown.code, unknown.err.splitlines()[-1]) == (1, "hint: did you mean 'publish'?")


def test_each_value_of_a_step_is_explained_before_and_after_it_has_run(stand: Stand) -> None:
    run = stand.start("release")
    stand.waiting(f"{run}/approve")

    ended = json.loads(stand.bobrapet("explain", "step", f"{run}/build", "--output=json").out)
    later = stand.bobrapet("explain", "step", f"{run}/publish")
    branch = json.loads(stand.bobrapet("explain", "step", f"{run}/docs", "--output=json").out)
    refused = [
        stand.bobrapet("explain", "step", *arguments)
        for arguments in ((f"{run}/approve",), (run,), (f"{run}/publsh",), (f"{run}/build", "--output=name"))
    ]
    stand.bobrapet("cancel", run)

    assert (ended["job"], ended["engramTemplate"]) == (f"{run}-build", "shell")
    values = {value["setting"]: value for value in ended["values"]}
    assert (values["image"]["value"], values["image"]["from"]) == ("shell", "EngramTemplate shell")
    assert [setting for setting, value in values.items() if value.get("differs")] == []
    assert {"inJob"} <= values["resources.cpuLimit"].keys()
    assert branch["step"] == "fan/docs"
    assert later.code == 0, later.err
    assert later.out.startswith(f"{run}/publish  has not started; its Job would now get these values\n")
    assert [each.code for each in refused] == [1, 2, 1, 2]
    assert "is of type gate, which has no Job" in refused[0].err
    assert "hint: did you mean 'publish'?" in refused[2].err


def test_a_step_waits_for_a_claim_says_so_and_goes_on_when_it_is_created(stand: Stand) -> None:
    run = stand.start("mounts")
    wait_until(lambda: '"data" not found' in stand.bobrapet("get", run).out)
    why = stand.bobrapet("why", f"{run}/train").out
    explained = stand.bobrapet("explain", "step", f"{run}/train").out

    apply(stand, stand.line.folder / "claim.yaml", CLAIM, {})
    ended = stand.bobrapet("wait", run, "--timeout=60s")

    assert 'persistentvolumeclaims "data" not found' in " ".join(why.split())
    assert "persistentVolumeClaim data at /bubu-test-data Story step" in " ".join(explained.split())
    assert (ended.code, ended.out) == (0, f"{run} Succeeded\n"), ended.err


def test_a_failed_run_is_run_again_from_the_step_that_failed(stand: Stand) -> None:
    run = stand.start("breaks", "--wait")
    before = json.loads(stand.bobrapet("get", run, "--output=json").out)["status"]

    why = stand.bobrapet("why", run).out
    planned = stand.bobrapet("retry", run, "--failed", "--dry-run=client")
    again = stand.bobrapet("retry", run, "--failed", "--wait", "--timeout=20s")
    after = json.loads(stand.bobrapet("get", run, "--output=json").out)["status"]
    unknown = stand.bobrapet("retry", run, "--from=fail-hre")

    assert "step fail-here ended Failed: the container exited with code 3" in why
    assert "  | no such table\n" in why
    assert planned.out == "runs again:\n  fail-here  requested\n  after      depends on fail-here\nis kept: one\n"
    assert again.code == 3, again.err
    assert after["attempts"] == before["attempts"] + 1
    assert after["stepStates"]["one"] == before["stepStates"]["one"]
    assert (unknown.code, unknown.err.splitlines()[-1]) == (1, "hint: did you mean 'fail-here'?")


def test_a_run_that_goes_on_is_run_again_only_when_that_is_confirmed(stand: Stand) -> None:
    run = stand.start("deploy")
    stand.waiting(f"{run}/go")

    in_a_pipe = stand.bobrapet("retry", run)
    sure = stand.bobrapet("retry", run, "--yes")
    wait_until(lambda: stand.read(run, ".status.attempts") == "2")
    stand.bobrapet("cancel", run)
    canceled = stand.bobrapet("retry", run)

    assert in_a_pipe.code == 1
    assert "is still running; nothing was changed" in in_a_pipe.err
    assert (sure.code, sure.out) == (0, f"{run}\n"), sure.err
    assert canceled.code == 1
    assert canceled.err.splitlines()[-1] == f"hint: start another one like it with: bobrapet resubmit {run}"


def test_another_run_like_it_has_its_inputs_and_the_changes(stand: Stand) -> None:
    run = stand.start("at-once", "--input=mail.to=a", "--input=mail.cc=b", "--wait")

    planned = stand.bobrapet("resubmit", run, "--input=mail.to=c", "--dry-run=client", "--output=json")
    started = stand.bobrapet("resubmit", run, "--input=mail.to=c", "--wait")

    expected = {"storyRef": {"name": "at-once"}, "inputs": {"mail": {"to": "c", "cc": "b"}}}
    assert json.loads(planned.out)["spec"] == expected
    assert started.code == 0, started.err
    name = started.out.splitlines()[0]
    assert name != run
    assert json.loads(stand.read(name, ".spec.inputs")) == expected["inputs"]


def test_a_timeline_shows_where_the_time_went(stand: Stand) -> None:
    run = stand.start("breaks", "--wait")

    text = stand.bobrapet("timeline", run, "--ascii")
    document = json.loads(stand.bobrapet("timeline", run, "--output=json").out)
    trace = json.loads(stand.bobrapet("timeline", run, "--output=perfetto").out)
    other = stand.bobrapet("timeline", run, "--output=gantt")

    assert text.code == 0, text.err
    assert text.out.splitlines()[0].startswith(f"{run}  Failed")
    assert [step["step"] for step in document["steps"]] == ["one", "fail-here", "after"]
    assert document["steps"][0]["spans"]
    assert document["steps"][2]["spans"] == []
    assert {event["ph"] for event in trace["traceEvents"]} == {"M", "X"}
    assert other.code == 2


def test_a_request_starts_one_run_and_the_exit_code_says_what_was_decided(stand: Stand) -> None:
    created = stand.bobrapet("trigger", "at-once", "--key=event-1", "--input=a=1")
    again = stand.bobrapet("trigger", "at-once", "--key=event-1", "--input=a=1", "--output=json")
    other = stand.bobrapet("trigger", "at-once", "--key=event-1", "--input=a=2")
    stand.start("at-once", "--key=event-2")
    reused = stand.bobrapet("trigger", "at-once", "--key=event-2")
    large = stand.bobrapet("trigger", "at-once", f"--input=text={'x' * 2000}")
    unasked = stand.bobrapet("trigger", "at-oce")

    run, decision = created.out.split()
    assert (created.code, decision) == (0, "Created"), created.err
    assert f"follow the run with: bobrapet watch {run}" in created.err
    stored = json.loads(again.out)
    assert (again.code, stored["status"]["storyRunRef"]["name"]) == (0, run), again.err
    assert "was submitted before; its decision is final" in again.err
    assert (other.code, other.out) == (7, "")
    assert "but other inputs" in other.err
    assert (reused.code, reused.out.split()[1]) == (8, "Reused"), reused.err
    if "KUBECONFIG" in stand.line.environment:  # the embedded cluster has an object store, this one has none
        assert (large.code, large.out) == (7, "")
        assert "storyrun.max-inline-inputs-size" in large.err
    else:
        assert (large.code, large.out.split()[1]) == (0, "Created"), large.err
    assert (unasked.code, unasked.err.splitlines()[-1]) == (1, "hint: did you mean 'at-once'?")


def test_requests_are_listed_and_explained(stand: Stand) -> None:
    sent = stand.bobrapet("trigger", "at-once", "--submission-id=event-3", "--no-wait")
    name = sent.out.strip()
    decided = stand.bobrapet("trigger", "at-once", "--submission-id=event-3", "--timeout=20s")
    run = decided.out.split()[0]
    stand.bobrapet("wait", run, "--timeout=20s")
    listed = stand.bobrapet("triggers", "--decision=created")
    named = stand.bobrapet("triggers", "at-once", "--output=name")
    why = stand.bobrapet("why", f"trigger/{name}", "--output=json")
    missing = stand.bobrapet("why", "trigger/nobody")

    assert (sent.code, decided.code) == (0, 0), sent.err + decided.err
    rows = {line.split()[0]: line.split() for line in listed.out.splitlines()}
    assert rows[name][1:-1] == ["at-once", "Created", run, "StoryRunCreated"]
    assert f"storytrigger/{name}" in named.out.splitlines()
    explained = json.loads(why.out)
    assert (explained["trigger"], explained["run"], explained["phase"]) == (name, run, "Succeeded")
    assert missing.code == 1
    assert missing.err.splitlines()[-1] == "hint: see them with: bobrapet triggers"
