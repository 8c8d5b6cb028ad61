"""Whether what a run has stored is deleted with it. Pure. Source: StoryRun contract 1.4, 20."""

from __future__ import annotations

from core.api import keys
from core.api.objects import ReadOnlyObject
from core.policy.settings import OperatorSettings, StorageProvider


def stored_data_goes(run: ReadOnlyObject, story: ReadOnlyObject | None, settings: OperatorSettings) -> bool:
    """Whether what the run has stored is deleted with it: unless the operator, the Story or the run keeps it."""
    storage = settings.storage
    if storage.provider is StorageProvider.NONE or not storage.delete_with_run:
        return False
    return not any(keeps_stored_data(obj) for obj in (run, story) if obj is not None)


def keeps_stored_data(obj: ReadOnlyObject) -> bool:
    """Whether a Story or StoryRun asks to keep the stored data of deleted runs."""
    value = (obj["metadata"].get("annotations") or {}).get(keys.ANNOTATION_KEEP_STORED_DATA)
    return str(value or "").strip().lower() == "true"
