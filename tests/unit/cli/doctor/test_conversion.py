from __future__ import annotations

from cli.doctor.context import DoctorContext
from cli.doctor.conversion import diagnose, examine
from cli.session import Session
from core.api.resource import STORY
from core.kube.errors import error_from_answer
from views.doctor.diagnosis import Health


def test_an_answer_with_a_story_shows_that_the_conversion_works() -> None:
    assert diagnose(None, 1).health is Health.OK
    assert diagnose(None, 0).health is Health.SKIPPED


def test_a_conversion_that_fails_is_a_problem_with_its_reason() -> None:
    found = diagnose(error_from_answer(500, b"conversion webhook failed: no endpoints"), 0)

    assert (found.health, "no endpoints" in found.text) == (Health.PROBLEM, True)


async def test_stories_are_read_in_the_other_version(guarded_session: Session) -> None:
    spec = {"steps": [{"name": "a", "type": "sleep", "with": {"duration": "1s"}}]}
    story = {"apiVersion": STORY.api_version, "kind": STORY.kind, "metadata": {"name": "s"}, "spec": spec}
    await guarded_session.client.create(STORY, story, namespace="default")

    (found,) = await examine(DoctorContext(guarded_session))

    assert found.health is Health.OK


async def test_a_cluster_with_the_stored_version_only_needs_no_conversion(session: Session) -> None:
    (found,) = await examine(DoctorContext(session))

    assert found.health is Health.SKIPPED
