"""What is left of a document without its wrong values."""

from __future__ import annotations

from typing import Any

import pytest

from core.api import manifest, named_kinds
from core.api.resource import STORY
from core.api.sound_part import sound_part

MODEL = named_kinds.model_for(STORY.api_version, STORY.kind)
GOOD = {"name": "good", "type": "stop"}


def story(*steps: Any, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": STORY.api_version,
        "kind": STORY.kind,
        "metadata": {"name": "s"},
        "spec": {"steps": list(steps), **spec},
    }


@pytest.mark.parametrize(
    ("document", "steps", "removed"),
    [
        (story(GOOD), [GOOD], ()),
        (story({**GOOD, "sideEffects": "x"}), [GOOD], ("spec.steps[0].sideEffects",)),
        (story({**GOOD, "zz": 1}, version=3), [GOOD], ("spec.steps[0].zz", "spec.version")),
        (story({**GOOD, "needs": ["a", 3]}), [GOOD], ("spec.steps[0].needs",)),
        (story({"type": "stop"}, GOOD), [{"type": "stop", "name": "nameless-0"}, GOOD], ("spec.steps[0].name",)),
        (story(GOOD, "x"), [GOOD, {"type": "condition", "name": "nameless-1"}], ("spec.steps[1]",)),
        (story({**GOOD, "name": "Ä"}), [{"type": "stop", "name": "nameless-0"}], ("spec.steps[0].name",)),
    ],
)
def test_wrong_values_are_removed_and_steps_keep_their_places(
    document: dict[str, Any], steps: list[Any], removed: tuple[str, ...]
) -> None:
    assert MODEL is not None
    part = sound_part(MODEL, document)

    assert part is not None
    assert part.document["spec"]["steps"] == steps
    assert set(removed) <= set(part.removed)
    assert bool(part.removed) is bool(manifest.errors_of(document))
    assert manifest.errors_of(part.document) == []


@pytest.mark.parametrize("spec", [None, 3, [], "x"])
def test_a_document_without_a_spec_has_no_part(spec: Any) -> None:
    assert MODEL is not None
    assert sound_part(MODEL, {**story(), "spec": spec}) is None
