"""A new kind is one module and one row: a controller that the operator does not know, in a separate assembly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest

from core.api.conditions import is_true
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, CUSTOM_RESOURCE_DEFINITION
from core.policy.settings import ControllerSettings, OperatorSettings
from reconcilers.controllers import CONTROLLERS
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, status_of
from tests.integration.widget_controller import CONTROLLER, PALETTE, WIDGET
from tests.integration.widgets import definition, widget

ONE_WORKER = OperatorSettings(template=ControllerSettings(1, timedelta(milliseconds=50), timedelta(seconds=1)))


@pytest.fixture
async def world_with_widgets(world: OperatorCluster) -> AsyncIterator[OperatorCluster]:
    name = definition()["metadata"]["name"]
    await world.client.apply(CUSTOM_RESOURCE_DEFINITION, definition(), force=True)
    await world.until(CUSTOM_RESOURCE_DEFINITION, name, _is_established)
    yield world
    await world.client.delete(CUSTOM_RESOURCE_DEFINITION, name)


def _is_established(stored: Object) -> bool:
    return is_true(status_of(stored).get("conditions") or [], "Established")


def _has_phase(phase: str, stored: Object) -> bool:
    return bool(status_of(stored).get("phase") == phase)


async def test_a_new_controller_needs_no_more_than_its_row(world_with_widgets: OperatorCluster) -> None:
    """The operator uses its own account. ``operator`` fails if one of its requests was refused."""
    there = world_with_widgets
    for name in ("a", "b", "c"):
        await there.client.create(WIDGET, widget(name, namespace=NAMESPACE_NAME))
    async with there.operator(ONE_WORKER, controllers=(*CONTROLLERS, CONTROLLER)) as traffic:
        for name in ("a", "b", "c"):  # these exist when the process begins to lead
            await there.until(WIDGET, name, partial(_has_phase, "unknown, 1 at work"))
        await there.client.create(WIDGET, widget("d", {"color": "blue"}, namespace=NAMESPACE_NAME))
        await there.until(WIDGET, "d", partial(_has_phase, "unknown, 1 at work"))

        palette = {"metadata": {"name": "red", "namespace": NAMESPACE_NAME, "labels": {PALETTE: ""}}}
        await there.client.create(CONFIG_MAP, {**palette, "data": {"word": "warm"}})
        for name in ("a", "b", "c"):
            await there.until(WIDGET, name, partial(_has_phase, "warm, 1 at work"))
        assert traffic.writes == {"PATCH widgets/status": 7}
