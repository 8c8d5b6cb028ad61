"""Each setting that is live has its effect in an operator that runs while its ConfigMap changes."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from core.api.objects import Object
from core.api.resource import EVENT
from core.policy.config_keys import FAMILIES, KEYS
from core.policy.setting import Counts
from tests.integration import live_setting_plays as plays
from tests.integration.container_setting_rows import DEFAULTS, NOT_OF_JOBS, ROWS
from tests.integration.live_operator import LiveOperator, open_live_operator
from tests.integration.live_setting_rows import ELSEWHERE, WAVES, Live, Wave
from tests.integration.operator_cluster import OPERATOR_NAMESPACE, open_operator_cluster, step

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveOperator]:
    """On an embedded cluster: the operator reads the settings in the same way on any."""
    async with open_operator_cluster(tmp_path, None) as world, open_live_operator(world, tmp_path) as operator:
        yield operator


async def played(live: LiveOperator, wave: Wave, name: str, *, is_changed: bool) -> dict[str, Any]:
    """What the rows show, all played at once; an error is shown, too."""
    seen: dict[str, Any] = {}

    async def play(row: Live, own: str) -> None:
        chosen = row.then if is_changed and row.then is not None else row.play
        try:
            seen[row.key] = await chosen(live, own if row.then is not None or not is_changed else f"{own}-again")
        except AssertionError as error:
            seen[row.key] = str(error)

    async with trio.open_nursery() as nursery:
        for number, row in enumerate(wave.rows):
            nursery.start_soon(play, row, f"{name}r{number}")
    return seen


async def test_every_live_setting_has_its_effect_while_the_operator_runs(live: LiveOperator) -> None:
    wrong = {}
    for number, wave in enumerate(WAVES):
        beside = {key: value.format(store=live.store) for key, value in wave.beside.items()}
        await live.configure(beside)
        before = await played(live, wave, f"w{number}", is_changed=False)
        await live.configure({**beside, **{row.key: row.value.format(store=live.store) for row in wave.rows}})
        after = await played(live, wave, f"w{number}", is_changed=True)
        for row in wave.rows:
            if (before[row.key], after[row.key]) != (row.before, row.after):
                wrong[row.key] = before[row.key], after[row.key]
    assert wrong == {}


async def test_one_wrong_value_changes_nothing_and_is_reported_until_it_is_corrected(live: LiveOperator) -> None:
    depth, chance = plays.depth_of_calls, plays.rendered("{{ len uuidv4 }}")
    await live.configure({"storyrun.max-story-depth": "1"})
    await live.configure({"storyrun.max-story-depth": "many", "templating.deterministic": "true"})
    assert (await depth(live, "a"), await chance(live, "b")) == ("Failed", "36")
    assert "storyrun.max-story-depth" in live.source.why_not_in_force()
    assert any("storyrun.max-story-depth" in text for text in live.log.texts if "invalid" in text)

    async def is_told() -> bool:
        events = (await live.world.client.list(EVENT, OPERATOR_NAMESPACE)).items
        found = [each for each in events if each["reason"] == "ConfigurationRejected"]
        return any("storyrun.max-story-depth" in each["note"] for each in found)

    await live.world.eventually(is_told)
    await live.configure({"templating.deterministic": "true"})
    assert (await depth(live, "c"), await chance(live, "d")) == ("Succeeded", "Failed")
    assert live.source.why_not_in_force() == ""


async def test_every_setting_of_containers_counts_for_the_next_job_of_a_running_operator(live: LiveOperator) -> None:
    """The Job that exists already stays as it is."""

    async def job_of(name: str) -> Object:
        await live.start(name, step("work", "noop"))
        [job] = await live.jobs_of(name)
        return job

    await live.configure({})
    before = await job_of("before")
    wrong: dict[str, tuple[Any, Any]] = {}
    for number, rows in enumerate((DEFAULTS, ROWS)):
        await live.configure({row.key: row.value for row in rows})
        after = await job_of(f"after-{number}")
        wrong |= {
            row.key: (row.seen(before), row.seen(after))
            for row in rows
            if row.seen(after) != row.after or row.seen(before) == row.after
        }
    assert wrong == {}
    [job] = await live.jobs_of("before")
    assert job["spec"] == before["spec"]


def test_every_setting_of_containers_is_changed_in_a_running_operator_or_is_none_of_jobs() -> None:
    changed = {row.key for row in (*DEFAULTS, *ROWS)}
    rows = [known.row for known in KEYS.values()]
    assert changed | set(NOT_OF_JOBS) == {row.key for row in rows if row.counts is Counts.NEW_CONTAINERS}


def test_every_live_setting_is_changed_in_a_running_operator_or_names_the_test_that_does_so() -> None:
    changed = {re.sub(r"(queue|namespace)\.\w+\.", r"\1.<name>.", row.key) for wave in WAVES for row in wave.rows}
    rows = [*(known.row for known in KEYS.values()), *FAMILIES]

    assert changed | {row.key for row in ELSEWHERE} == {row.key for row in rows if row.counts is Counts.LIVE}
    assert changed & {row.key for row in ELSEWHERE} == set()
    for row in ELSEWHERE:
        tree = ast.parse((ROOT / row.file).read_text(encoding="utf-8"))
        assert row.test in {
            each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        }
