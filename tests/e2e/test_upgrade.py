"""Upgrade and rollback with runs under way: the operator of the previous release, new definitions, today's operator.

Each operator is a process, and each run is met where an upgrade meets runs: at work, asleep, at a gate, in a back-off.
The order of the steps is that of docs/upgrading.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from core.api.objects import Object
from core.api.phases import Reason
from core.api.resource import STORY_RUN
from tests.e2e.operator_rig import ROOT, open_operator_rig, status_of
from tests.e2e.previous_release import unpacked_release
from tests.e2e.upgrade_admission import UpgradeAdmission, begin_admission, open_upgrade_admission
from tests.e2e.upgrade_workload import UpgradeWorkload, WarmWorkload
from tests.e2e.upgrading_page import command, play
from tools.control_plane.processes import ServerProcess

MOST_LATE = 3
"""Reviews for which the API server waited in vain, however many there are. Each of two new servers builds the models of
a kind for its first review. On a busy machine that takes longer than the five seconds of the contract, and a write
meanwhile may meet it, too. Users try again. On a quiet machine: none.
"""


@pytest.fixture
def release(tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    """Code and manifests of the previous release."""
    if pytestconfig.getoption("control_plane") != "real":
        pytest.skip("needs a real control plane: --control-plane real")
    return unpacked_release(tmp_path)


async def test_a_rolling_upgrade_and_its_rollback_refuse_no_write_and_execute_each_step_once(
    tmp_path: Path, release: Path
) -> None:
    async with open_operator_rig(tmp_path, release=release) as rig, open_upgrade_admission(rig) as admission:
        work = UpgradeWorkload(rig)
        await work.install()
        old = await rig.start_operator("old", *admission.flags_of("old"), release=release)
        await begin_admission(admission, old, release)
        async with trio.open_nursery() as users:
            users.start_soon(admission.write_without_end)

            await work.start("up")
            await rig.install()
            new = await replaced(admission, "new", old, ROOT)
            await admission.register(ROOT)
            await work.release("up")
            await work.all_ended("up")

            warm = WarmWorkload(rig)
            await warm.install()
            assert await warm.execute("warm-new") == "worker"
            await warm.switch_off()
            assert await play(rig, command("kubectl get stepruns")) == ""
            await work.start("back")
            await admission.register(release)
            await rig.apply(f"{release}/manifests/rbac")  # an operator only grants containers what it may do itself
            await replaced(admission, "old-again", new, release)
            await work.release("back")
            await work.all_ended("back")
            assert await warm.execute("warm-old") == "job"
            users.cancel_scope.cancel()
    assert admission.refused == []
    assert admission.let_through == 0
    assert admission.admitted > 20
    assert admission.late <= MOST_LATE


async def replaced(admission: UpgradeAdmission, name: str, before: ServerProcess, release: Path) -> ServerProcess:
    """Replace an operator as a Deployment does: the next one answers reviews before the one before is asked to stop."""
    after = await admission.rig.start_operator(name, *admission.flags_of(name), release=release)
    await admission.answered_by(after)
    await admission.stop(before)
    assert before.exit_code == 0, before.tail()
    return after


async def test_runs_of_an_operator_that_was_killed_are_continued_by_another_release(
    tmp_path: Path, release: Path
) -> None:
    async with open_operator_rig(tmp_path, release=release) as rig:
        work = UpgradeWorkload(rig)
        await work.install()
        old = await rig.start_operator("old", release=release)
        await work.start("up")
        await old.kill()
        await rig.install()
        new = await rig.start_operator("new")
        await work.release("up")
        await work.all_ended("up")

        await work.start("back")
        await new.kill()
        await rig.start_operator("old-again", release=release)
        await rig.until(STORY_RUN, "back-chain", lacks_rights)  # and nothing is started a second time
        await rig.apply(f"{release}/manifests/rbac")
        await work.release("back")
        await work.all_ended("back")


def lacks_rights(run: Object) -> bool:
    return any(condition.get("reason") == Reason.PERMISSION_DENIED for condition in status_of(run)["conditions"])
