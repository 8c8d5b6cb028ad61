"""Runs a Story in a test, on an embedded cluster, through the command ``bobrapet``.

    # conftest.py
    pytest_plugins = ["bubu_sdk.testing.story_fixture"]

    def test_letters(run_story):
        outcome = run_story(letters, {"text": "to be or not to be"})
        assert outcome.output == {"words": 6}

The cluster starts with the first Story, and serves all tests of the session. Its functions run as they do in
containers: each step is a process, with the environment of the contract.
"""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bubu_contract import canonical
from bubu_sdk.stories.story import Story

RUN_SECONDS: Final = 300.0
_STOP_SECONDS: Final = 60.0


@dataclass(frozen=True)
class StoryOutcome:
    """How a run ended."""

    exit_code: int
    """0 if the run has succeeded; otherwise an exit code of ``bobrapet run``."""
    output: Any
    """The output of the Story; ``None`` if the run has not succeeded."""
    progress: str
    """What the command said meanwhile: the phases of the steps, and why one failed, with the end of its log."""

    @property
    def succeeded(self) -> bool:
        """Whether the run has succeeded."""
        return self.exit_code == 0


class StoryRunner:
    """Runs Stories on one embedded cluster; it is called, and closed at the end.

    Args:
        data: the folder of the cluster.
        command: the words that start ``bobrapet``; default: that of this Python's environment, or of ``PATH``.
        image_map: programs for images that no function of the Story has.
    """

    def __init__(self, data: Path, *, command: Sequence[str] = (), image_map: Path | None = None) -> None:
        self._data = data
        self._command = list(command) or [_bobrapet()]
        self._image_map = image_map
        self._is_up = False

    def __call__(
        self, story: Story[Any], inputs: Mapping[str, Any] | None = None, *, seconds: float = RUN_SECONDS
    ) -> StoryOutcome:
        """Run a Story to its end.

        Raises:
            RuntimeError: the cluster does not start.
            subprocess.TimeoutExpired: the run takes longer than ``seconds``.
        """
        self._start()
        given = ["run", inspect.getfile(story.function), f"--story={story.name}", "--inputs=-", "--output=json"]
        if self._image_map is not None:
            given.append(f"--image-map={self._image_map}")
        done = self._bobrapet(*given, text=canonical.encode(dict(inputs or {})).decode(), seconds=seconds)
        output = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else None
        return StoryOutcome(done.returncode, output, done.stderr)

    def close(self) -> None:
        """Stop the cluster, if one was started."""
        if self._is_up:
            self._bobrapet("down", seconds=_STOP_SECONDS)
            self._is_up = False

    def _start(self) -> None:
        if self._is_up:
            return
        done = self._bobrapet("up", "--quiet", seconds=RUN_SECONDS)
        if done.returncode != 0:
            raise RuntimeError(f"the embedded cluster does not start: {done.stderr}")
        self._is_up = True

    def _bobrapet(self, *words: str, text: str = "", seconds: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the command of this environment, with words of this module
            [*self._command, *words, f"--data={self._data}"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )


def _bobrapet() -> str:
    beside = Path(sys.executable).parent / "bobrapet"
    found = str(beside) if beside.is_file() else shutil.which("bobrapet")
    if found is None:
        raise RuntimeError("there is no command bobrapet; install it in this environment: pip install bobrapet")
    return found
