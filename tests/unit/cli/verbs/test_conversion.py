"""``conversion off`` on an API server in this process."""

from __future__ import annotations

import pytest

from cli.session import Session
from cli.verbs.conversion import MANAGER, converted_versions, switch_conversion_off
from core.api.crd import custom_resource_definition
from core.api.resource import CUSTOM_RESOURCE_DEFINITION
from core.api.story import STORY_KIND
from core.kube.errors import NotFoundError
from deployment.generate import CONVERSION_SERVICE

NAME = "stories.bubustack.io"


@pytest.fixture
async def both_versions(session: Session) -> Session:
    """A cluster whose definition of Stories was applied by somebody with both versions."""
    definition = custom_resource_definition(STORY_KIND, CONVERSION_SERVICE)
    await session.client.apply(CUSTOM_RESOURCE_DEFINITION, definition, field_manager="helm", force=True)
    return session


async def test_stories_are_only_served_as_they_are_stored(both_versions: Session) -> None:
    await switch_conversion_off(both_versions, dry_run=False)

    found = await both_versions.client.get(CUSTOM_RESOURCE_DEFINITION, NAME)
    served = {version["name"]: version["served"] for version in found["spec"]["versions"]}
    assert served == {"v1alpha1": True, "v1beta1": False}
    assert converted_versions(found) == []


async def test_the_next_installation_serves_both_versions_without_a_conflict(both_versions: Session) -> None:
    await switch_conversion_off(both_versions, dry_run=False)
    definition = custom_resource_definition(STORY_KIND, CONVERSION_SERVICE)

    await both_versions.client.apply(CUSTOM_RESOURCE_DEFINITION, definition, field_manager="helm")

    found = await both_versions.client.get(CUSTOM_RESOURCE_DEFINITION, NAME)
    assert converted_versions(found) == [1]
    assert MANAGER not in {entry["manager"] for entry in found["metadata"].get("managedFields") or []}


async def test_a_dry_run_changes_nothing(both_versions: Session) -> None:
    before = await both_versions.client.get(CUSTOM_RESOURCE_DEFINITION, NAME)

    await switch_conversion_off(both_versions, dry_run=True)

    assert await both_versions.client.get(CUSTOM_RESOURCE_DEFINITION, NAME) == before


async def test_what_is_not_there_needs_no_change(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    await switch_conversion_off(session, dry_run=False)
    assert "is only served as it is stored" in capsys.readouterr().err

    await session.client.delete(CUSTOM_RESOURCE_DEFINITION, NAME)
    with pytest.raises(NotFoundError):
        await session.client.get(CUSTOM_RESOURCE_DEFINITION, NAME)
    await switch_conversion_off(session, dry_run=False)
    assert capsys.readouterr().err == ""
