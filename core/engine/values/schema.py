"""Whether a document matches a schema, in one sentence for a status message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.evaluation.asker import Asker
from core.evaluation.evaluator import Evaluator

MAX_PROBLEMS_TOLD: Final = 5


async def why_invalid(evaluator: Evaluator, schema: Mapping[str, Any], document: Any, asker: Asker) -> str | None:
    """The first few problems, in the order of the document; None if the document is valid."""
    problems = await evaluator.validate_schema(schema, document, asker=asker)
    if not problems:
        return None
    text = "; ".join(str(problem) for problem in problems[:MAX_PROBLEMS_TOLD])
    more = len(problems) - MAX_PROBLEMS_TOLD
    return f"{text}; and {more} more" if more > 0 else text
