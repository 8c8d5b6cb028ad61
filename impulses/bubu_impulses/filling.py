"""Fills templates in JSON-like data: every string with ``{{ … }}`` is a text template. Pure.

A string that is a single action gets the value with its type, so ``"{{ body.number }}"`` may become ``42``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from bubu_sdk.template import Segments
from bubu_sdk.text_template import TemplateSyntaxError, TextTemplate


class Filling:
    """JSON-like data with parsed templates."""

    def __init__(self, data: Any, roots: Collection[str], name: str) -> None:
        """Parse the templates in ``data``; ``name`` is the root of the paths in messages.

        Raises:
            ValueError: a template cannot be used; the message has its path.
        """
        self._data = _parsed(data, roots, name)

    @property
    def paths(self) -> list[Segments]:
        """The paths of all templates."""
        return [path for template in _templates(self._data) for path in template.paths]

    def fill(self, roots: Mapping[str, Any]) -> Any:
        """The data with all templates replaced.

        Raises:
            TemplateDataError: a value is missing, or has no text form.
        """
        return _filled(self._data, roots)


def _parsed(data: Any, roots: Collection[str], path: str) -> Any:
    if isinstance(data, str):
        if "{{" not in data:
            return data
        try:
            return TextTemplate(data, roots)
        except TemplateSyntaxError as error:
            raise ValueError(f"{path}: {error}") from error
    if isinstance(data, Mapping):
        return {key: _parsed(item, roots, f"{path}.{key}") for key, item in data.items()}
    if isinstance(data, list):
        return [_parsed(item, roots, f"{path}[{index}]") for index, item in enumerate(data)]
    return data


def _templates(data: Any) -> Iterator[TextTemplate]:
    if isinstance(data, TextTemplate):
        yield data
    elif isinstance(data, (dict, list)):
        for item in data.values() if isinstance(data, dict) else data:
            yield from _templates(item)


def _filled(data: Any, roots: Mapping[str, Any]) -> Any:
    if isinstance(data, TextTemplate):
        return data.value(roots)
    if isinstance(data, dict):
        return {key: _filled(item, roots) for key, item in data.items()}
    if isinstance(data, list):
        return [_filled(item, roots) for item in data]
    return data
