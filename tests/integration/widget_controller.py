"""A controller of a kind that the operator does not know: one module, which ends with its row.

The phase of a Widget has the word from the ConfigMap of its color, and the number of reconciles in progress.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import trio

from core.api.permission import Permission
from core.api.resource import CONFIG_MAP, Resource
from core.kube.informer import Change
from reconcilers.adapters.watched_kind import WatchedKind
from reconcilers.adapters.world import World
from reconcilers.adapters.writes import patch_status
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.changes import spec_changed
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys

WIDGET: Final = Resource("example.com", "v1", "widgets", "Widget", subresources=("status",))
PALETTE: Final = "example.com/palette"
"""Label of the ConfigMaps that hold words for colors. Each ConfigMap has the name of a color."""
COLOR: Final = "color"
"""Index of Widgets, by namespace and color."""


class WidgetReconciler:
    def __init__(self, there: ControllerDependencies) -> None:
        self._client = there.client.in_background()
        self._world: World = there.world
        self._at_work = 0

    async def reconcile(self, key: Key) -> Outcome:
        widget = self._world.informer(WIDGET).get(key.namespace, key.name)
        if widget is None:
            return Done()
        self._at_work += 1
        await trio.sleep(0.02)
        palette = self._world.informer(CONFIG_MAP).get(key.namespace, widget["spec"]["color"])
        word = palette["data"]["word"] if palette is not None else "unknown"
        status = {"phase": f"{word}, {self._at_work} at work"}
        self._at_work -= 1
        if widget.get("status") != status:
            await patch_status(self._client, self._world.informer(WIDGET), WIDGET, widget, status)
        return Done()


def _color(widget: dict[str, Any]) -> list[str]:
    return [f"{widget['metadata']['namespace']}/{widget['spec']['color']}"]


def _of_palette(change: Change, caches: Caches) -> Iterator[Key]:
    """The Widgets with the color of the ConfigMap."""
    key = Key.of(change.object)
    yield from map(Key.of, caches.informer(WIDGET).by_index(COLOR, str(key)))


def _build(there: ControllerDependencies) -> Reconcile:
    return WidgetReconciler(there).reconcile


CONTROLLER: Final = ControllerRegistration(
    "widget",
    WIDGET,
    _build,
    options=lambda settings: settings.template,
    informers=(
        WatchedKind(WIDGET, {COLOR: _color}),
        WatchedKind(CONFIG_MAP, label_selector=PALETTE, why="Words for the colors of Widgets."),
    ),
    watches=(
        Watch(WIDGET, own_keys, when=spec_changed),
        Watch(CONFIG_MAP, _of_palette, delay=timedelta(milliseconds=20)),
    ),
    permissions=(Permission(WIDGET, ("patch",), "The phase of a Widget is shown.", subresource="status"),),
)
