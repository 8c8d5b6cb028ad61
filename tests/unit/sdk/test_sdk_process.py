"""The container as a process: exit codes, signals, a hung function, start-up time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bubu_sdk.testing import EngramEnvironment, ImpulseEnvironment
from tests.unit.sdk.sdk_container import ROOT, Container, LiveApi

NOTHING = """
    from bubu_sdk import engram

    @engram
    def main():
        return {"ok": True}

    main.run()
"""
LISTENING = """
    from bubu_sdk import engram

    @engram
    def main(ctx):
        print("ready", flush=True)
        ctx.cancelled.wait()
        raise RuntimeError("stopped")

    main.run()
"""
DEAF = """
    import time
    from bubu_sdk import engram

    @engram
    def main():
        print("ready", flush=True)
        while True:
            time.sleep(0.05)

    main.run()
"""
BLOCKED_LOOP = """
    import time
    from bubu_sdk import engram

    @engram(backend="asyncio")
    async def main():
        print("ready", flush=True)
        time.sleep(60)

    main.run()
"""


def test_a_success_exits_with_0_and_logs_json_lines(
    container: Container, environment: EngramEnvironment, api: LiveApi
) -> None:
    code, stdout, stderr = container.run(NOTHING)

    assert (code, stderr) == (0, "")
    assert environment.status["phase"] == "Succeeded"
    assert environment.status["output"] == {"ok": True}
    assert all(json.loads(line)["stepRun"] == "story-run-step" for line in stdout.splitlines())
    assert set(api.authorizations) == {"Bearer secret-token"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [("raise ValueError('x')", 1), ("sys.exit(7)", 7), ("raise EngramError('x', retryable=True)", 1)],
)
def test_a_failure_exits_with_its_code(
    container: Container, environment: EngramEnvironment, body: str, expected: int
) -> None:
    source = f"import sys\nfrom bubu_sdk import EngramError, engram\n@engram\ndef main():\n    {body}\nmain.run()\n"

    code, _, _ = container.run(source)

    assert code == expected
    assert environment.status["phase"] == "Failed"
    assert environment.status["exitCode"] == expected


@pytest.mark.parametrize("source", [DEAF, BLOCKED_LOOP], ids=["deaf-function", "blocked-event-loop"])
def test_a_hung_function_ends_with_124_soon_after_its_deadline(
    container: Container, environment: EngramEnvironment, source: str
) -> None:
    began = time.monotonic()

    code, _, _ = container.run(source, BUBU_STEP_TIMEOUT="500ms", BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT="200ms")

    assert code == 124
    assert environment.status["phase"] == "Timeout"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_step_with_a_retryable_failure(
    container: Container, environment: EngramEnvironment, number: int, expected: int
) -> None:
    assert container.run_and_signal(LISTENING, number=number) == expected
    assert environment.status["phase"] == "Failed"
    assert environment.status["exitClass"] == "retry"
    assert environment.status["exitCode"] == expected


def test_a_signal_ends_a_deaf_function_after_its_grace(container: Container, environment: EngramEnvironment) -> None:
    assert container.run_and_signal(DEAF, BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT="100ms") == 143
    assert "was killed" in environment.status["lastFailureMsg"]


def test_a_process_without_a_step_says_how_to_try_an_engram(container: Container) -> None:
    code, stdout, _ = container.run(NOTHING, BUBU_STEPRUN_NAME="")

    assert code == 1
    assert "not the container of a step" in stdout


def test_a_process_without_a_cluster_says_how_to_try_an_engram(container: Container, tmp_path: Path) -> None:
    code, stdout, _ = container.run(NOTHING, KUBECONFIG="", HOME=str(tmp_path))

    assert code == 1
    assert "bubu_sdk.testing.EngramEnvironment" in stdout


def test_leftover_threads_do_not_keep_a_finished_step_alive(
    container: Container, environment: EngramEnvironment
) -> None:
    source = """
        import threading, time
        from bubu_sdk import engram, process

        process._FAREWELL_SECONDS = 0.2

        @engram
        def main():
            threading.Thread(target=time.sleep, args=(60,)).start()

        main.run()
    """
    began = time.monotonic()

    code, _, _ = container.run(source)

    assert code == 0
    assert environment.status["phase"] == "Succeeded"
    assert time.monotonic() - began < 10


def test_importing_the_sdk_imports_no_heavy_library() -> None:
    program = "import sys, bubu_sdk, bubu_sdk.process; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    output = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(ROOT / "sdk")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert not {
        "anyio",
        "asyncio",
        "trio",
        "httpx",
        "kubernetes",
        "pydantic",
        "jsonschema_rs",
        "obstore",
        "yaml",
    } & set(output)


def test_importing_the_sdk_imports_nothing_of_impulses() -> None:
    program = "import sys, bubu_sdk, bubu_sdk.process; print(*sorted(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(ROOT / "sdk")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert "bubu_sdk.engram" in output
    assert not {"bubu_sdk.impulses", "bubu_sdk.triggers", "bubu_sdk.trigger_errors", "bubu_sdk.readiness"} & set(output)


def test_an_impulse_ends_what_it_has_accepted_and_exits_with_0(tmp_path: Path) -> None:
    source = """
        from bubu_sdk import ImpulseContext, impulse

        @impulse
        def main(ctx: ImpulseContext) -> None:
            print("ready", flush=True)
            ctx.cancelled.wait()
            ctx.log.info("submitted", extra={"trigger": ctx.accept(inputs={"last": True}).trigger})

        main.run()
    """
    environment = ImpulseEnvironment()
    api = LiveApi(environment.cluster, tmp_path / "kubeconfig.json")
    try:
        code = Container(environment, api, tmp_path).run_and_signal(source)
    finally:
        api.close()

    assert code == 0
    assert [trigger["spec"]["inputs"] for trigger in environment.triggers] == [{"last": True}]


PRINTING = """
    import logging, os, sys
    from bubu_sdk import {kind}

    early = logging.StreamHandler(sys.stderr)

    @{kind}
    def main(ctx):
        secret = ctx.secrets["token"]
        print("it is", secret, flush=True)
        sys.stdout.buffer.write(secret.encode() + b" in bytes\\n")
        sys.stderr.write(secret + " on stderr\\n")
        early.emit(logging.makeLogRecord({{"msg": secret}}))
        print(os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["LOG_AUTH"], os.environ["TOKEN_TOKEN"])
        sys.__stdout__.write("and " + secret)

    main.run()
"""
SECRET = {
    "BUBU_SECRET_API": "env:API_",
    "API_token": "hunter-2-hunter",
    "AWS_SECRET_ACCESS_KEY": "hunter/3+k",
    "LOG_AUTH": "required",
    "TOKEN_TOKEN": "/run/token-1",
}


@pytest.mark.parametrize("kind", ["engram", "impulse"])
def test_a_secret_that_is_printed_is_not_in_the_log(
    environment: EngramEnvironment, api: LiveApi, tmp_path: Path, kind: str
) -> None:
    ran = Container(environment if kind == "engram" else ImpulseEnvironment(), api, tmp_path)
    _, stdout, stderr = ran.run(PRINTING.format(kind=kind), **SECRET)

    assert "hunter" not in stdout + stderr
    assert "it is [REDACTED]\n" in stdout
    assert "[REDACTED] in bytes\n" in stdout
    assert "[REDACTED] required /run/token-1\n" in stdout
    assert "and [REDACTED]" in stdout
    assert stderr == "[REDACTED] on stderr\n[REDACTED]\n"
