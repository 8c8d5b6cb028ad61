"""What the process does not load, and what it returns to the system."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.process import resident_bytes
from manager.memory import give_back_free_pages

BLOCK_BYTES = 50_000


def test_free_pages_between_blocks_in_use_are_returned() -> None:
    if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
        pytest.skip("only glibc keeps them")
    blocks = [b"x" * BLOCK_BYTES for _ in range(400)]
    last = blocks[-1]
    blocks.clear()
    before = resident_bytes(os.getpid())

    assert give_back_free_pages()
    assert before - resident_bytes(os.getpid()) > 200 * BLOCK_BYTES
    assert len(last) == BLOCK_BYTES


def test_an_operator_without_admission_loads_no_models_of_manifests() -> None:
    """Their library and the models of templates take 8 MiB, and a tenth of the time of the start."""
    program = (
        "import sys, manager.run, manager.assembly\n"
        "print(sorted({'pydantic', 'pydantic_core', 'quart'}.intersection(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
