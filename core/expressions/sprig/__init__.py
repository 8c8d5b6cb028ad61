"""The functions for templates beyond those of the language: Sprig's safe functions and the engine's own.

One module per subject; each fills a ``FunctionTable`` named ``FUNCTIONS`` and is listed here. Source:
templating contract 9 to 11.
"""

from __future__ import annotations

from typing import Final

from core.expressions.sprig import (
    casing,
    conversion,
    dates,
    defaults,
    dictionaries,
    digests,
    encoding,
    engine,
    filepaths,
    identifiers,
    jsons,
    lists,
    numbers,
    patterns,
    reflection,
    refused,
    strings,
    urls,
    versions,
    wording,
)
from core.expressions.template.functions import FunctionTable


def _collect() -> FunctionTable:
    functions = FunctionTable()
    functions.include(
        engine.FUNCTIONS,
        casing.FUNCTIONS,
        conversion.FUNCTIONS,
        dates.FUNCTIONS,
        defaults.FUNCTIONS,
        dictionaries.FUNCTIONS,
        digests.FUNCTIONS,
        encoding.FUNCTIONS,
        filepaths.FUNCTIONS,
        identifiers.FUNCTIONS,
        jsons.FUNCTIONS,
        lists.FUNCTIONS,
        numbers.FUNCTIONS,
        patterns.FUNCTIONS,
        reflection.FUNCTIONS,
        strings.FUNCTIONS,
        urls.FUNCTIONS,
        versions.FUNCTIONS,
        wording.FUNCTIONS,
    )
    return functions


FUNCTIONS: Final = _collect()
REFUSED: Final = refused.REASONS
