"""``storage usage`` and ``storage sweep`` on a volume of an embedded cluster."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.options import DryRun
from cli.problem import CommandError
from cli.runs import run_manifest, start_run
from cli.session import Session
from cli.verbs.storage import GRACE, show_usage
from cli.verbs.storage import sweep_store as sweep
from core.api.resource import STEP_RUN, STORY_RUN, STORY_TRIGGER
from core.payloads.store import PAGE_OBJECTS
from tests.unit.cli.conftest import Server
from tests.unit.cli.stored_cluster import StoredCluster, stored_cluster
from tests.unit.cli.stored_objects import a_run, make, owned

LOG = "default/logs/{}/step/{}-step/1767323045000000000.log"


@pytest.fixture
async def there(session: Session, tmp_path: Path) -> StoredCluster:
    return await stored_cluster(session, tmp_path)


def to(key: str) -> dict[str, str]:
    return {"$bubuStorageRef": key}


async def a_step_run(there: StoredCluster, run: Any, name: str, **status: Any) -> None:
    metadata = {"name": name, "ownerReferences": owned(run)}
    spec = {"stepId": "step", "storyRunRef": {"name": run["metadata"]["name"]}, "engramRef": {"name": "e"}}
    await make(there.session, STEP_RUN, {"metadata": metadata, "spec": spec}, **status)


async def test_only_what_nobody_owns_or_refers_to_goes(there: StoredCluster) -> None:
    run = await a_run(there.session, "one", output=to("outputs/default/old-step/root.json"))
    await a_step_run(there, run, "one-step", phase="Running")
    inputs = {"request": to("inputs/default/digest-run/output.json")}
    await start_run(there.session, run_manifest("release", "default", inputs, name="two"))
    trigger = {
        "storyRef": {"name": "release"},
        "inputs": to("inputs/default/digest-trigger/output.json"),
        "deliveryIdentity": {"submissionId": "s"},
    }
    await make(there.session, STORY_TRIGGER, {"metadata": {"name": "t"}, "spec": trigger})
    kept = {
        "outputs/default/one/output.json": {},
        "outputs/default/one-step/output.json": {},
        "outputs/default/old-step/root.json": {"rows": to("outputs/default/old-step/rows.json")},
        "outputs/default/old-step/rows.json": [],
        "inputs/default/digest-run/output.json": {},
        "inputs/default/digest-trigger/output.json": {},
        "cache/default/embed/v1/00.json": {},
        LOG.format("one", "one"): {},
        "elsewhere/file.json": {},
        "outputs/default/loose.json": {},
    }
    gone = [
        "outputs/default/old-step/unused.json",
        "outputs/default/gone/deep/er.json",
        "inputs/default/digest-nobody/output.json",
        LOG.format("gone", "gone"),
    ]
    for key, data in kept.items():
        there.put(key, data)
    for key in gone:
        there.put(key, to("outputs/default/old-step/unused.json"))
    there.put("outputs/default/young/output.json", hours=0.5)

    await sweep(there.session, delete=False, older_than=GRACE)
    assert there.keys() == sorted([*kept, *gone, "outputs/default/young/output.json"])
    await sweep(there.with_options(yes=True), delete=True, older_than=GRACE)

    assert there.keys() == sorted([*kept, "outputs/default/young/output.json"])


async def test_a_dry_run_lists_and_an_unconfirmed_one_deletes_nothing(
    there: StoredCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    there.put("outputs/default/gone/output.json", b"x" * 5000)

    await sweep(there.session, delete=False, older_than=GRACE)
    shown = capsys.readouterr()
    await sweep(there.with_options(dry_run=DryRun.CLIENT, yes=True), delete=True, older_than=GRACE)
    with pytest.raises(CommandError, match="nothing was deleted"):
        await sweep(there.session, delete=True, older_than=GRACE)

    assert shown.out.splitlines() == [
        "OWNER   KIND      OBJECTS   SIZE      AGE",
        "gone    outputs   1         4.9 KiB   2h",
    ]
    assert "would delete 1 object (4.9 KiB); delete them with --delete" in shown.err
    assert there.keys() == ["outputs/default/gone/output.json"]


async def test_the_grace_can_be_chosen(there: StoredCluster) -> None:
    there.put("outputs/default/gone/output.json", hours=30)

    await sweep(there.with_options(yes=True), delete=True, older_than=timedelta(hours=31))
    assert there.keys() == ["outputs/default/gone/output.json"]
    await sweep(there.with_options(yes=True), delete=True, older_than=timedelta(hours=29))
    assert there.keys() == []


async def test_more_objects_than_a_page_has(there: StoredCluster, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(PAGE_OBJECTS + 50):
        there.put(f"outputs/default/gone-{number % 7}/{number}.json", hours=2)

    await show_usage(there.with_options(output="jsonpath={.kinds[0].objects}"))
    assert capsys.readouterr().out == f"{PAGE_OBJECTS + 50}\n"
    await sweep(there.with_options(yes=True), delete=True, older_than=GRACE)

    assert there.keys() == []


async def test_orphans_as_data(there: StoredCluster, capsys: pytest.CaptureFixture[str]) -> None:
    there.put("outputs/default/gone/output.json")

    await sweep(there.with_options(output="json"), delete=False, older_than=GRACE)
    [found] = json.loads(capsys.readouterr().out)["items"]
    await sweep(there.with_options(output="name"), delete=False, older_than=GRACE)

    del found["modifiedAt"]
    assert found == {
        "namespace": "default",
        "owner": "gone",
        "kind": "outputs",
        "key": "outputs/default/gone/output.json",
        "bytes": 2,
    }
    assert capsys.readouterr().out == "outputs/default/gone/output.json\n"


async def test_what_exists_is_asked_again_after_the_question(
    there: StoredCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.put("outputs/default/late/output.json")
    there.put("outputs/default/gone/output.json")
    session = there.with_options()

    async def slow_yes(question: str) -> bool:
        await a_run(there.session, "late")
        return True

    monkeypatch.setattr(session.console, "confirm", slow_yes)

    await sweep(session, delete=True, older_than=GRACE)

    assert there.keys() == ["outputs/default/late/output.json"]


async def test_who_may_not_list_the_runs_deletes_nothing(there: StoredCluster, server: Server) -> None:
    there.put("outputs/default/gone/output.json")
    async with server.session_as("jane") as jane:
        with pytest.raises(Exception, match="jane"):
            await sweep(jane, delete=True, older_than=GRACE)

    assert there.keys() == ["outputs/default/gone/output.json"]


async def test_an_object_too_large_to_follow_ends_the_sweep(there: StoredCluster) -> None:
    key = "outputs/default/old/huge.json"
    await a_run(there.session, "one", output=to(key))
    there.put(key)
    there.put("outputs/default/gone/output.json")
    with (there.folder / "default/payloads" / key).open("wb") as file:
        file.truncate((64 << 20) + 1)

    with pytest.raises(
        CommandError, match=r"it is unknown what a stored object refers to: .*huge\.json' is larger than"
    ):
        await sweep(there.with_options(yes=True), delete=True, older_than=GRACE)
    assert there.keys() == ["outputs/default/gone/output.json", key]


async def test_usage_by_kind_and_run(there: StoredCluster, capsys: pytest.CaptureFixture[str]) -> None:
    run = await a_run(there.session, "one")
    await a_step_run(there, run, "one-step")
    there.put("outputs/default/one-step/output.json", b"x" * 3000)
    there.put("inputs/default/one/input.json", b"x" * 72)
    there.put("inputs/default/digest/input.json", b"x" * 10)
    there.put("cache/default/embed/v1/00.json", b"x" * 7)

    await show_usage(there.session)
    table = capsys.readouterr().out
    await show_usage(there.with_options(output="json"))
    document = json.loads(capsys.readouterr().out)

    assert table.splitlines() == [
        "KIND      OBJECTS   SIZE",
        "outputs   1         2.9 KiB",
        "inputs    2         82 B",
        "logs      0         0 B",
        "cache     1         7 B",
        "",
        "RUN                    OBJECTS   SIZE",
        "one                    2         3.0 KiB",
        "digest   no such run   1         10 B",
    ]
    assert document["kinds"][0] == {"namespace": "default", "kind": "outputs", "objects": 1, "bytes": 3000}
    assert document["runs"] == [
        {"namespace": "default", "run": "one", "exists": True, "objects": 2, "bytes": 3072},
        {"namespace": "default", "run": "digest", "exists": False, "objects": 1, "bytes": 10},
    ]


async def test_usage_of_all_namespaces(there: StoredCluster, capsys: pytest.CaptureFixture[str]) -> None:
    there.put("outputs/default/one/output.json")
    there.put("outputs/bobrapet-system/two/output.json", namespace="bobrapet-system")

    await show_usage(there.with_options(all_namespaces=True))

    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "NAMESPACE         KIND      OBJECTS   SIZE",
        "bobrapet-system   outputs   1         2 B",
        "default           outputs   1         2 B",
    ]


async def test_no_run_has_stored_anything(there: StoredCluster, capsys: pytest.CaptureFixture[str]) -> None:
    await sweep(there.with_options(yes=True), delete=True, older_than=GRACE)
    await show_usage(there.session)

    shown = capsys.readouterr()
    assert "every stored object belongs to a run" in shown.err
    assert "RUN" not in shown.out
    assert (await there.session.client.list(STORY_RUN, "default")).items == []
