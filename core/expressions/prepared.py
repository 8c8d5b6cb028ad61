"""A value whose templates are evaluated again and again: they are compiled, and found, once.

The result is that of ``resolve``, without data in object storage. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from bubu_contract.references import STORAGE_REFERENCE
from core.expressions.errors import EvaluationError, ExpressionError, Fault, LimitExceededError
from core.expressions.expression import Template, compile_template
from core.expressions.limits import MAX_DEPTH
from core.expressions.paths import Json
from core.expressions.resolve import TEMPLATE_KEY, VARIABLES_KEY, refuse_chance
from core.expressions.template.functions import Context

NOT_PLAIN: Final = object()

_MAX_PATHS: Final = 100
_Evaluate = Callable[[Mapping[str, Json], Context], Json]
_Look = Callable[[Mapping[str, Json]], Json]


class _NotPlainError(Exception):
    """A path does not simply lead to a value."""


class PreparedValue:
    """A value of a manifest, ready to be evaluated."""

    def __init__(self, value: Json) -> None:
        """
        Raises:
            ExpressionError: a template does not compile, or the value is nested too deeply.
        """
        self.templates: list[Template] = []
        """Every template, in the order of the value."""
        self._constant = value
        self._evaluate = self._prepared(value, 0)
        self._look = self._plainly(value) if len(self.templates) <= _MAX_PATHS else None

    @property
    def is_constant(self) -> bool:
        """Whether there is no template in it."""
        return self._evaluate is None

    def value(self, variables: Mapping[str, Json], context: Context) -> Json:
        """The value over ``variables``. It shares parts with them and with the manifest: do not change it.

        Raises:
            ExpressionError: ``field`` is the JSON path of the string, ``position`` the place in it.
        """
        return self._constant if self._evaluate is None else self._evaluate(variables, context)

    def plain_value(self, variables: Mapping[str, Json]) -> Json:
        """The value if it consists of constants and paths that lead to a value; else ``NOT_PLAIN``.

        Its cost is bounded by the value alone, so nothing is counted.
        """
        if self._look is None:
            return NOT_PLAIN
        try:
            return self._look(variables)
        except _NotPlainError:
            return NOT_PLAIN

    def may_read(self, root: str) -> bool:
        """Whether a template may read ``root``. Certain for paths only: others may read everything through ``.``."""
        return any(template.path is None or template.path.segments[0] == root for template in self.templates)

    def reads_only_below(self, root: str, except_for: str) -> bool:
        """Whether all that is read of ``root`` are paths to other keys than ``except_for``."""
        return all(_is_elsewhere(template, root, except_for) for template in self.templates)

    def _prepared(self, value: Json, depth: int) -> _Evaluate | None:
        if isinstance(value, str):
            return self._template(value) if "{{" in value else None
        if not isinstance(value, dict | list):
            return None
        if depth >= MAX_DEPTH:
            raise LimitExceededError("depth", MAX_DEPTH, f"the value is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, list):
            return self._list(value, depth)
        if TEMPLATE_KEY in value:
            return self._wrapper(value, depth)
        return self._object(value, depth)

    def _template(self, text: str) -> _Evaluate:
        template = compile_template(text)
        if template.path is None:
            template.program.prepare()
        self.templates.append(template)
        evaluate, functions = template.evaluate, template.references.functions

        def checked(variables: Mapping[str, Json], context: Context) -> Json:
            if context.deterministic:
                refuse_chance(functions, text)
            return evaluate(variables, context)

        return checked if functions else evaluate

    def _object(self, value: dict[str, Json], depth: int) -> _Evaluate | None:
        members = [(name, item, self._inside(name, item, depth)) for name, item in value.items()]
        if all(evaluate is None for _, _, evaluate in members):
            return None
        size = len(members)

        def run(variables: Mapping[str, Json], context: Context) -> Json:
            context.meter.spend(size)
            result = {}
            name = ""
            try:
                for name, item, evaluate in members:
                    result[name] = item if evaluate is None else evaluate(variables, context)
            except ExpressionError as error:
                error.inside(name)
                raise
            return result

        return run

    def _list(self, value: list[Json], depth: int) -> _Evaluate | None:
        items = [(item, self._inside(f"[{index}]", item, depth)) for index, item in enumerate(value)]
        if all(evaluate is None for _, evaluate in items):
            return None

        def run(variables: Mapping[str, Json], context: Context) -> Json:
            context.meter.spend(len(items))
            result: list[Json] = []
            try:
                for item, evaluate in items:
                    result.append(item if evaluate is None else evaluate(variables, context))
            except ExpressionError as error:
                error.inside(f"[{len(result)}]")
                raise
            return result

        return run

    def _wrapper(self, wrapper: dict[str, Json], depth: int) -> _Evaluate:
        text, extra = wrapper[TEMPLATE_KEY], wrapper.get(VARIABLES_KEY)
        if not isinstance(text, str):
            raise EvaluationError("must be a string", fault=Fault.WRAPPER_SHAPE, field=TEMPLATE_KEY)
        more = self._inside(VARIABLES_KEY, extra, depth)
        template = self._inside(TEMPLATE_KEY, text, depth)

        def run(variables: Mapping[str, Json], context: Context) -> Json:
            place = VARIABLES_KEY
            try:
                resolved = extra if more is None else more(variables, context)
                if not isinstance(resolved, dict | None):
                    raise EvaluationError("must be an object", fault=Fault.WRAPPER_SHAPE)
                place = TEMPLATE_KEY
                return text if template is None else template({**variables, **(resolved or {})}, context)
            except ExpressionError as error:
                error.inside(place)
                raise

        return run

    def _plainly(self, value: Json) -> _Look | None:
        """How to find the value without evaluating; None if there is more in it than constants and paths."""
        if isinstance(value, str) and "{{" in value:
            return _path_look(compile_template(value))
        if isinstance(value, dict) and TEMPLATE_KEY not in value:
            members = [(name, self._plainly(item)) for name, item in value.items()]
            looks = [(name, look) for name, look in members if look is not None]
            return (lambda variables: {name: look(variables) for name, look in looks}) if members == looks else None
        if isinstance(value, list):
            items = [self._plainly(item) for item in value]
            found = [look for look in items if look is not None]
            return (lambda variables: [look(variables) for look in found]) if items == found else None
        return None if isinstance(value, dict) else lambda _: value

    def _inside(self, name: str, value: Json, depth: int) -> _Evaluate | None:
        try:
            return self._prepared(value, depth + 1)
        except ExpressionError as error:
            error.inside(name)
            raise


def _path_look(template: Template) -> _Look | None:
    if template.path is None or template.references.any_step_counts:
        return None
    segments = template.path.segments

    def look(variables: Mapping[str, Json]) -> Json:
        value: Json = variables
        for segment in segments:
            if type(value) is not dict or segment not in value or STORAGE_REFERENCE in value:
                raise _NotPlainError
            value = value[segment]
        return value

    return look


def _is_elsewhere(template: Template, root: str, key: str) -> bool:
    """Certain for paths only: other templates may read everything through ``.``."""
    segments = template.path.segments if template.path is not None else ()
    return bool(segments) and (segments[0] != root or (len(segments) > 1 and segments[1] != key))
