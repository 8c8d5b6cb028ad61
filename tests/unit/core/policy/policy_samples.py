"""Small Stories, Engrams and templates. Tests change one field at a time."""

from __future__ import annotations

from core.api.objects import Object
from core.policy.settings import OperatorSettings
from core.policy.sources import Sources


def sources(
    *,
    settings: OperatorSettings | None = None,
    template: Object | None = None,
    engram: Object | None = None,
    story_policy: Object | None = None,
    step: Object | None = None,
    step_run: Object | None = None,
) -> Sources:
    """``template`` and ``engram`` are specs. The template has an image unless the test sets it otherwise."""
    return Sources(
        settings or OperatorSettings(),
        {"metadata": {"name": "http"}, "spec": {"image": "registry.example/http:1", **(template or {})}},
        {"metadata": {"name": "fetcher", "namespace": "team"}, "spec": engram or {}},
        {"metadata": {"name": "report", "namespace": "team"}, "spec": {"policy": story_policy or {}}},
        {"name": "fetch", "ref": {"name": "fetcher"}, **(step or {})},
        step_run,
    )
