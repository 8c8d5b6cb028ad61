"""The time of each test is its own, although its processes end later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only /proc shows running processes")
SESSION = """
import subprocess, sys, time, pytest

SERVER = '''
import subprocess, sys, time
print(flush=True)
sys.stdin.readline()
while time.process_time() < 0.2: pass
subprocess.run([sys.executable, "-I", "-S", "-c", "import time\\\\nwhile time.process_time() < 0.2: pass"])
print(flush=True)
sys.stdin.readline()
'''

@pytest.fixture(scope="session")
def server():
    command = [sys.executable, "-I", "-S", "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        yield process
        process.stdin.close()

def test_starts_it(server): pass

def test_uses_it(server):
    print(file=server.stdin, flush=True)
    server.stdout.readline()
    time.sleep(0.6)

def test_ends_it(server): pass
"""


@needs_proc
def test_what_a_process_of_the_session_does_counts_for_the_test_that_uses_it(tmp_path: Path) -> None:
    (tmp_path / "test_session.py").write_text(SESSION)
    times = tmp_path / "times"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tools.cpu_time", f"--cpu-times={times}", "."]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)

    tests = {name.rpartition("::")[2]: seconds for name, seconds in json.loads(times.read_text())["tests"].items()}
    assert tests["test_uses_it"] >= 0.3
    assert tests["test_starts_it"] < 0.2
    assert abs(tests["test_ends_it"]) < 0.2
