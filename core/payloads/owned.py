"""The objects of one run, by few requests: names of runs are prefixes of each other, and a store can only list folders.

Source: SDK contract 9.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from core.payloads.place import StoredKind, folders_of
from core.payloads.store import Store
from core.payloads.stored_object import StoredObject

_BY_OWNER: Final = (StoredKind.OUTPUTS, StoredKind.INPUTS)


async def objects_of_run(store: Store, namespace: str, run: str, step_runs: Iterable[str]) -> list[StoredObject]:
    """Outputs, inputs and logs of the StoryRun ``run`` and of its StepRuns, which need not exist any more.

    Raises:
        PayloadError: a name cannot be a segment of a key.
        StoreUnavailableError: see ``Store.page``.
    """
    folders = folders_of(namespace)
    owners = sorted({f"{owner}/" for owner in (run, *step_runs)})
    found: list[StoredObject] = []
    for kind in _BY_OWNER:
        found += await _below(store, folders[kind], owners)
    logs = _Listing(store, f"{folders[StoredKind.LOGS]}/{run}")
    while await logs.next_page():
        found += logs.page
    return found


class _Listing:
    """The pages of a folder, in the order of their keys; keys can be skipped."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._folder = folder
        self.page: list[StoredObject] = []
        self.is_over = False

    async def next_page(self, *, after: str = "") -> bool:
        """Go on after the last page, or after the key ``after``, which may be further; False at the end."""
        reached = self.page[-1].key if self.page else ""
        self.page = [*await self._store.page(self._folder, after=max(reached, after))]
        self.is_over = not self.page
        return not self.is_over

    def passed(self, prefix: str) -> bool:
        """Whether no later page has a key with ``prefix``."""
        last = self.page[-1].key if self.page else ""
        return self.is_over or (last > prefix and not last.startswith(prefix))

    def with_prefix(self, prefix: str) -> Iterator[StoredObject]:
        return (each for each in self.page if each.key.startswith(prefix))


async def _below(store: Store, folder: str, owners: Iterable[str]) -> list[StoredObject]:
    """The objects in the folders ``owners``, which are sorted. Folders that follow each other share a page."""
    listing = _Listing(store, folder)
    found: list[StoredObject] = []
    for owner in owners:
        prefix = f"{folder}/{owner}"
        found += listing.with_prefix(prefix)
        before = f"{prefix[:-1]}."  # the dot sorts just before the slash; obstore drops a slash at the end
        while not listing.passed(prefix) and await listing.next_page(after=before):
            found += listing.with_prefix(prefix)
    return found
