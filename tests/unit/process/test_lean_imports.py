"""Modules are loaded without garbage collections; afterwards the collector works as before."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from process.lean_imports import collecting_rarely


def test_the_schedule_is_restored_after_an_error() -> None:
    usual = gc.get_threshold()

    def fail() -> None:
        with collecting_rarely():
            assert gc.get_threshold()[0] > usual[0]
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert gc.get_threshold() == usual


@pytest.mark.parametrize("module", ["manager.run", "localcluster.launch"])
def test_a_server_loads_its_modules_without_a_collection(module: str) -> None:
    program = (
        "import gc\n"
        "from process.lean_imports import collecting_rarely\n"
        "seen = []\n"
        "gc.callbacks.append(lambda phase, info: seen.append(phase))\n"
        "with collecting_rarely():\n"
        f"    import {module}\n"
        "    print(len(seen))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)

    assert done.stdout == "0\n"
