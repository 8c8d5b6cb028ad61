"""A process that is kept running.

It begins its work when it gets a word. When it ends, it is started again, unless it never became ready.
"""

import os
import signal
import sys

import pytest
import trio

from localcluster.keptprocess import KeptProcess, ProcessNotReadyError

ECHO = "import os, sys; print(os.getpid(), sys.stdin.readline().strip(), flush=True); sys.stdin.read()"


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", program)


async def test_it_is_told_the_same_word_after_each_restart() -> None:
    answers: list[tuple[int, str]] = []
    heard = trio.Event()

    def note(answer: str) -> None:
        pid, word = answer.split()
        answers.append((int(pid), word))
        heard.set()

    kept = KeptProcess("echo", python(ECHO), note)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(kept.run)
            kept.begin("word")
            await kept.wait_until_ready()
            await heard.wait()
            heard = trio.Event()
            os.kill(answers[0][0], signal.SIGKILL)
            await heard.wait()
            nursery.cancel_scope.cancel()

    (first, told), (second, told_again) = answers
    assert (told, told_again) == ("word", "word")
    assert first != second
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


async def test_one_that_ends_before_it_was_ready_is_not_tried_again() -> None:
    kept = KeptProcess("sleeper", python("import sys; sys.stdin.readline(); sys.exit(3)"), lambda _: None)
    kept.begin("word")
    with trio.fail_after(20), pytest.raises(ProcessNotReadyError, match=r"ended before it was ready \(exit code 3\)"):
        await kept.run()


async def test_one_that_does_not_listen_when_asked_to_stop_is_made_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localcluster.keptprocess.STOP_SECONDS", 0.1)
    deaf = "import os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True)"
    pids: list[int] = []
    kept = KeptProcess("deaf", python(f"{deaf}\nwhile True: signal.pause()"), lambda answer: pids.append(int(answer)))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(kept.run)
            kept.begin("word")
            await kept.wait_until_ready()
            nursery.cancel_scope.cancel()

    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
