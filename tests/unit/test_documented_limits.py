"""A limit that a page promises is the one that programs keep: no number changes without its page."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from core.engine.primitives.wait import CLOCK_POLL
from core.evaluation.pool import WorkerLimits
from core.policy.settings import OperatorSettings
from hub.attendance import SHOWN_AT_ONCE, SHOWN_EVERY
from hub.listener import HubListenerRules

DOCS: Final = Path(__file__).parents[2] / "docs"
HUB: Final = HubListenerRules()
SENTENCES: Final = (
    (
        "hub.md",
        f"with 128 KiB of data each | {HUB.connections:,}; {HUB.strangers}; at the limit the oldest",
    ),
    (
        "hub.md",
        f"one for each step every {SHOWN_EVERY.total_seconds():g} seconds, and for all steps {SHOWN_AT_ONCE} at",
    ),
    ("threat-model.md", f"of a step one refusal is shown in {SHOWN_EVERY.total_seconds():g} s, of all {SHOWN_AT_ONCE}"),
    (
        "contract/storyrun.md",
        f"It checks a condition that depends on the time every {CLOCK_POLL.total_seconds():g} s unless `pollInterval`",
    ),
    ("expressions.md", f"| `templating.worker-timeout` | `{WorkerLimits().seconds:g}s` |"),
    ("expressions.md", f"| `templating.worker-memory-bytes` | `{WorkerLimits().memory_bytes}` |"),
    ("expressions.md", f"| `templating.workers` | `{WorkerLimits().processes}` |"),
)


@pytest.mark.parametrize(("page", "sentence"), SENTENCES, ids=[page for page, _ in SENTENCES])
def test_the_number_on_the_page_is_that_of_the_code(page: str, sentence: str) -> None:
    assert sentence in " ".join((DOCS / page).read_text().split())


def test_processes_that_evaluate_have_the_limits_of_the_settings_unless_others_are_given() -> None:
    settings, limits = OperatorSettings().templating, WorkerLimits()
    assert limits.seconds == settings.worker_timeout.total_seconds()
    assert limits.memory_bytes == settings.worker_memory_bytes
    assert limits.processes == settings.workers
