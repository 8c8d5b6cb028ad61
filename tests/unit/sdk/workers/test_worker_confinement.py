"""What the process of a step cannot do with the rights of its worker: read its token, write for other steps."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from bubu_sdk.kube import (
    JSON_PATCH,
    MERGE_PATCH,
    ConflictError,
    KubeError,
    StatusError,
    UnreachableError,
    UntrustedError,
)
from bubu_sdk.status import StatusUpdate
from bubu_sdk.testing import InMemoryCluster
from bubu_sdk.workers import channel, errands
from bubu_sdk.workers.assignment import AssignedAttempt
from bubu_sdk.workers.outcome import AttemptOutcome
from tests.unit.sdk.sdk_container import ROOT
from tests.unit.sdk.workers.conftest import StartWorker
from tests.unit.sdk.workers.worker_stand import NAMESPACE, POD, POD_UID, WorkerStand, eventually, path_of

ENVIRON = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "sdk")}
ATTEMPT = AssignedAttempt("run-a", "uid-a", 0, "pod-uid", {})
OTHER = """
    import os, socket, stat, threading, time
    from pathlib import Path
    from bubu_sdk import Context, engram
    from bubu_sdk.kube import KubeError, MERGE_PATCH
    from bubu_sdk.workers import channel, errands

    kept = []
    really = errands.ErrandCluster.__init__

    def keep(self, end):
        really(self, end)
        kept.append(self)

    errands.ErrandCluster.__init__ = keep

    def sockets():
        for number in range(3, 256):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    yield socket.socket(fileno=os.dup(number))
            except OSError:
                pass

    @engram
    def main(ctx: Context, inputs: dict):
        said = []
        for method, path, body in inputs.get("asks", ()):
            for cluster in kept:
                try:
                    cluster.request(method, path, body, content_type=MERGE_PATCH)
                    said.append("done")
                except KubeError as error:
                    said.append(getattr(error, "code", 0))
        if text := inputs.get("says"):
            channel.send(kept[-1]._end, text.encode())
        if text := inputs.get("then"):
            time.sleep(0.2)
            channel.send(kept[-1]._end, text.encode())
            Path(inputs["file"]).touch()
            ctx.cancelled.wait()
        if inputs.get("gives up"):
            kept[-1]._end.shutdown(socket.SHUT_RDWR)
            ctx.cancelled.wait()
        if file := inputs.get("reads"):
            try:
                said.append(Path(file).read_text())
            except PermissionError:
                said.append("hidden")
        if inputs.get("signals"):
            try:
                os.kill(os.getppid(), 0)
                said.append("reached")
            except PermissionError:
                said.append("not reached")
        return {"said": said}

    main.run()
"""
BOTH = pytest.mark.parametrize("isolation", ["process", "task"])


def permitted(method: str, path: str, body: Any = None, content_type: str = "application/json") -> bool:
    return errands.is_permitted(method, path, body, content_type, ATTEMPT, "default")


def claim(name: str = "run-a", uid: str | None = "uid-a") -> dict[str, Any]:
    return {"spec": {"stepRunRef": {"name": name} | ({"uid": uid} if uid else {})}}


CLAIMS = "/apis/runs.bubustack.io/v1alpha1/namespaces/default/effectclaims"
STATUS = f"{path_of('run-a')}/status"


def test_a_step_writes_its_own_record_but_not_that_its_process_has_ended() -> None:
    assert permitted("PATCH", STATUS, {"status": {"signals": {}}}, MERGE_PATCH)
    assert permitted("PATCH", STATUS, [{"op": "add", "path": "/status/signals", "value": {}}], JSON_PATCH)
    for path in (f"{path_of('run-b')}/status", path_of("run-a"), f"{STATUS}/../../run-b/status", STATUS + "?a=b"):
        assert not permitted("PATCH", path, {"status": {"signals": {}}}, MERGE_PATCH)
    wrong: list[Any] = [{"status": {"workerExit": None}}, {"metadata": {}}, {"status": None}, [], None, 5]
    for body in wrong:
        assert not permitted("PATCH", STATUS, body, MERGE_PATCH)
    for operation in (
        {"op": "add", "path": "/status/workerExit", "value": {}},
        {"op": "add", "path": "/status/workerExit/attempt", "value": 0},
        {"op": "add", "path": "/status", "value": {"workerExit": {}}},
        {"op": "copy", "from": "/status/output", "path": "/status/workerExit"},
        {"op": "move", "from": "/status/a", "path": "/status/b"},
        {"op": "replace", "path": "", "value": {}},
        {"op": "add", "path": "/metadata/labels/a", "value": ""},
        5,
    ):
        assert not permitted("PATCH", STATUS, [operation], JSON_PATCH)
    assert not permitted("PUT", STATUS, {"status": {}})
    assert not permitted("PATCH", STATUS, {"status": {}}, "application/apply-patch+yaml")


def test_a_step_claims_its_own_effects() -> None:
    assert permitted("POST", CLAIMS, claim())
    assert permitted("PUT", f"{CLAIMS}/a", claim(uid=None))
    wrong: list[Any] = [claim("run-b"), claim(uid="other"), {}, None, {"spec": []}]
    for body in wrong:
        assert not permitted("POST", CLAIMS, body)
    assert not permitted("PUT", f"{CLAIMS}/a/status", claim())
    assert not permitted("DELETE", f"{CLAIMS}/a")


def test_a_step_reads_single_objects_and_starts_no_watch() -> None:
    assert permitted("GET", path_of("run-a"))
    for path in ("secrets/a", "configmaps/a.b"):
        assert permitted("GET", f"/api/v1/namespaces/default/{path}")
    for path in ("secrets", "secrets/a?watch=true", "secrets/..", "serviceaccounts/a", "pods/a"):
        assert not permitted("GET", f"/api/v1/namespaces/default/{path}")
    assert not permitted("GET", "/api/v1/namespaces/other/secrets/a")
    assert not permitted("GET", path_of("run-b"))
    assert not permitted("POST", "/api/v1/namespaces/default/serviceaccounts/a/token", {})
    assert not permitted("PATCH", "/apis/coordination.k8s.io/v1/namespaces/default/leases/a", {"spec": {}}, MERGE_PATCH)


@pytest.mark.parametrize(
    "sent",
    [b"r", b"r{}", b"r[]", b"r[1, 2, 3, 4, 5]", b'r["GET", "/", null, "", "x"]', b'r["GET", "/", null, "", 1e999]'],
)
def test_what_is_no_request_gets_an_answer(sent: bytes) -> None:
    answer = json.loads(errands.answer_to(sent, ATTEMPT, "default", InMemoryCluster()))
    assert answer["code"] in (400, 403)


@pytest.mark.parametrize(
    "error",
    [
        ConflictError(409, "another writer", details={"kind": "stepruns"}),
        StatusError(429, "slowly", retry_after_seconds=3.0),
        StatusError(403, "no rights", details={"kind": "secrets"}),
        UnreachableError("no answer"),
        UntrustedError("expired"),
    ],
)
def test_failures_arrive_as_they_are(error: KubeError) -> None:
    class Failing:
        def request(self, *_: Any, **__: Any) -> dict[str, Any]:
            raise error

    ours, theirs = channel.pair()
    with ours, theirs:
        channel.send(theirs, errands.answer_to(_sent(), ATTEMPT, "default", Failing()))
        with pytest.raises(type(error)) as found:
            errands.ErrandCluster(ours).request("GET", path_of("run-a"))
    assert str(found.value) == str(error)
    for name in ("retryable", "code", "retry_after_seconds", "details", "is_about_rights"):
        assert getattr(found.value, name, None) == getattr(error, name, None)


def test_a_report_is_whole_although_a_thread_of_the_step_still_asks() -> None:
    ours, theirs = channel.pair()
    cluster, long = errands.ErrandCluster(theirs), "x" * (4 << 20)
    outcome = AttemptOutcome(0, StatusUpdate({"output": long}))
    with ours, theirs:
        asking = threading.Thread(target=cluster.request, args=("GET", long), daemon=True)
        asking.start()
        eventually(lambda: not select.select([], [theirs], [], 0)[1])  # it waits in the middle of its request
        reporting = threading.Thread(target=cluster.report, args=(outcome,), daemon=True)
        reporting.start()
        reporting.join(0.2)

        assert errands.report_over(ours, lambda sent: b'{"object": {"length": %d}}' % len(sent)) == outcome
        asking.join(60)
        reporting.join(60)
        assert not asking.is_alive()


def _sent() -> bytes:
    return b"r" + json.dumps(["GET", path_of("run-a"), None, "application/json", 1.0]).encode()


@BOTH
def test_no_step_writes_for_another_one(start_worker: StartWorker, stand: WorkerStand, isolation: str) -> None:
    """With tasks, it has what a step before it has left in the process that they share: nothing answers that."""
    start_worker(OTHER, BUBU_WORKER_CONCURRENCY="2", BUBU_WORKER_ISOLATION=isolation)
    stand.assign("victim")
    stand.wait_for_exit("victim")
    before, lease = stand.step_run("victim"), f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{POD}"
    own, other = (f"{path_of(name)}/status" for name in ("forger", "victim"))
    refused: list[tuple[str, str, Any]] = [
        ("PATCH", other, {"status": {"output": {"forged": True}}}),
        ("PATCH", own, {"status": {"workerExit": {"attempt": 0}}}),
        ("POST", CLAIMS, claim("victim", None)),
        ("PATCH", lease, {"spec": {"holderIdentity": "forged"}}),
        ("GET", path_of(""), None),
        ("GET", path_of("").rstrip("/"), None),
        ("GET", path_of("victim"), None),
    ]

    stand.assign("forger", asks=[*refused, ("PATCH", own, {"status": {"signals": {}}})])

    assert stand.wait_for_exit("forger") == 0
    said = stand.status("forger")["output"]["said"]
    of_the_victim, of_its_own = (said[::2], said[1::2]) if isolation == "task" else ([], said)
    assert of_its_own == [*[403] * len(refused), "done"]
    assert set(of_the_victim) <= {0}, "its channel is closed"
    assert stand.step_run("victim") == before
    assert stand.lease["spec"]["holderIdentity"] == POD_UID


def test_a_task_that_says_that_it_has_ended_asks_for_nothing_more_and_keeps_its_place(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    start_worker(OTHER, BUBU_WORKER_ISOLATION="task")
    path, file = f"{path_of('ghost')}/status", tmp_path / "file"
    errand = "r" + json.dumps(["PATCH", path, {"status": {"signals": {"forged": 1}}}, MERGE_PATCH, 5])

    stand.assign("ghost", says='{"exitCode": 0, "update": null}', then=errand, file=str(file))
    eventually(file.exists)
    stand.assign("next")  # it has no room for it yet
    assert stand.exit_code("ghost") is None
    stand.change("ghost", annotations={"bubustack.io/cancel-requested": "true"})

    assert stand.wait_for_exit("next") == 0
    assert stand.exit_code("ghost") == 0
    assert "signals" not in stand.status("ghost")


@pytest.mark.parametrize("how", [{"gives up": True}, {"says": "nonsense", "gives up": True}])
def test_a_task_that_ends_its_channel_without_a_report_ends_the_worker(
    start_worker: StartWorker, stand: WorkerStand, how: dict[str, Any]
) -> None:
    """It may still be at work, so its place must not be given to others."""
    worker = start_worker(OTHER, BUBU_WORKER_ISOLATION="task")
    stand.assign("vague", **how)

    assert worker.process.wait(60) == 1
    assert stand.exit_code("vague") == 137


def is_possible(restriction: str) -> bool:
    """Whether this kernel can do it; asked in a process of its own, which it binds."""
    program = f"import pathlib, sys; from bubu_sdk.workers import confinement; sys.exit(not confinement.{restriction})"
    return subprocess.run([sys.executable, "-c", program], env=ENVIRON, timeout=60, check=False).returncode == 0


@pytest.mark.skipif(not is_possible("hide(pathlib.Path('/var/tmp/none'))"), reason="this kernel has no Landlock")
def test_the_token_of_a_pod_is_hidden_and_all_else_is_there() -> None:
    run_alone("""
        import os, pathlib, subprocess, sys, tempfile
        from bubu_sdk.workers import confinement

        top = pathlib.Path(tempfile.mkdtemp(dir="/var/tmp"))
        token = top / "run" / "secrets" / "token"
        beside = top / "run" / "beside" / "file"
        for file in (token, beside, top / "other"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("x")
        (top / "link").symlink_to("run")
        assert confinement.hide(top / "link" / "secrets")
        assert confinement.separate()

        def is_readable(path):
            by_program = subprocess.run(["cat", path], capture_output=True).returncode == 0
            try:
                with open(path) as file:
                    file.read()
            except PermissionError:
                assert not by_program
                return False
            assert by_program
            return True

        outside = pathlib.Path(f"/proc/{os.getppid()}/root")
        for hidden in (token, top / "link/secrets/token", pathlib.Path(f"/proc/self/root{token}")):
            assert not is_readable(hidden), hidden
        (top / "run" / "beside" / "new").write_text("y")
        for open_ in (beside, top / "other", top / "link/beside/file", top / "run/beside/new", "/proc/self/stat"):
            assert is_readable(open_), open_
        import json.tool, sqlite3  # noqa: F401
        assert pathlib.Path("/dev/null").read_text() == ""
    """)


@pytest.mark.skipif(not is_possible("hide(pathlib.Path('/var/tmp/none'))"), reason="this kernel has no Landlock")
@BOTH
def test_no_step_reads_the_token_of_its_worker(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path, isolation: str
) -> None:
    token, beside = tmp_path / "secrets" / "account" / "token", tmp_path / "secrets" / "other" / "file"
    for file in (token, beside):
        file.parent.mkdir(parents=True)
        file.write_text("open")
    account = f"""
    import pathlib
    from bubu_sdk import kubeconfig
    kubeconfig.SERVICE_ACCOUNT = pathlib.Path({str(token.parent)!r})
    """
    options = {"source": account + OTHER} if isolation == "process" else {"source": OTHER, "supervisor": account}
    start_worker(**options, BUBU_WORKER_ISOLATION=isolation)

    for name, file in (("token", token), ("beside", beside)):
        stand.assign(name, reads=str(file))

    assert [stand.wait_for_exit(name) for name in ("token", "beside")] == [0, 0]
    assert [stand.status(name)["output"]["said"] for name in ("token", "beside")] == [["hidden"], ["open"]]


@pytest.mark.skipif(not is_possible("separate()"), reason="this kernel cannot keep signals back")
def test_a_task_does_not_end_its_supervisor(start_worker: StartWorker, stand: WorkerStand) -> None:
    start_worker(OTHER, BUBU_WORKER_ISOLATION="task")
    stand.assign("signals", signals=True)

    assert stand.wait_for_exit("signals") == 0
    assert stand.status("signals")["output"]["said"] == ["not reached"]


@pytest.mark.skipif(not is_possible("separate()"), reason="this kernel cannot keep signals back")
def test_a_step_neither_ends_nor_traces_what_is_not_its_own() -> None:
    run_alone("""
        import os, signal, subprocess, sys
        from bubu_sdk.workers import confinement

        sibling = subprocess.Popen(["sleep", "600"])
        step = os.fork()
        if step == 0:
            assert confinement.separate()
            own = subprocess.Popen(["sleep", "600"])
            os.readlink(f"/proc/{own.pid}/fd/0")
            own.kill()
            own.wait()
            for attempt in (
                lambda: os.kill(sibling.pid, signal.SIGKILL),
                lambda: os.kill(os.getppid(), signal.SIGSTOP),
                lambda: os.readlink(f"/proc/{sibling.pid}/fd/0"),
                lambda: open(f"/proc/{sibling.pid}/mem", "rb"),
            ):
                try:
                    attempt()
                except PermissionError:
                    continue
                os._exit(1)
            os._exit(0)
        exit_code, is_there = os.waitstatus_to_exitcode(os.waitpid(step, 0)[1]), sibling.poll() is None
        sibling.kill()
        assert (exit_code, is_there) == (0, True)
    """)


def run_alone(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=ENVIRON, timeout=60, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
