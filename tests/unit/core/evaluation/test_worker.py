"""The limits that the kernel enforces on a worker when no other process is there to end it."""

from __future__ import annotations

import signal
import subprocess
import sys

DEADLINE_SECONDS = 60
BUSY = (
    "from core.evaluation import worker; worker._limit_processor_time(0); print('begun', flush=True)\nwhile True: pass"
)


def test_a_worker_that_computes_beyond_its_limit_is_ended_by_the_kernel() -> None:
    busy = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, timeout=DEADLINE_SECONDS, check=False)

    assert busy.stdout == b"begun\n", busy.stderr
    assert busy.returncode == -signal.SIGXCPU
