"""Stories in Python: a function whose calls are the steps.

    @story(timeout="5m")
    def letters(inputs: Inputs) -> dict[str, object]:
        counted = count_words(text=inputs.text)
        with when(counted.words > 100):
            shorten(text=inputs.text)
        return {"words": counted.words}

The function builds a manifest and does nothing else; ``bobrapet manifest FILE`` prints it.
"""

from bubu_sdk.stories.calls import existing_engram
from bubu_sdk.stories.place import StoryBuildError
from bubu_sdk.stories.placeholder import as_json, expression, not_
from bubu_sdk.stories.primitives import (
    compensations,
    finally_,
    for_each,
    gate,
    run_story,
    sleep,
    stop,
    wait_until,
    when,
)
from bubu_sdk.stories.story import Story, story

__all__ = [
    "Story",
    "StoryBuildError",
    "as_json",
    "compensations",
    "existing_engram",
    "expression",
    "finally_",
    "for_each",
    "gate",
    "not_",
    "run_story",
    "sleep",
    "stop",
    "story",
    "wait_until",
    "when",
]
