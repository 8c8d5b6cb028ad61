"""A string of a manifest, compiled so that it can be evaluated many times.

``compile_template`` does the work that depends on the text alone, once: parse, bind, recognise the forms that keep a
value's type. Source: templating contract 2 (steps 1-6) and 4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.api.suggestion import closest
from core.caches.recently_used import kept_by_text
from core.expressions import paths, references, sprig
from core.expressions.errors import (
    BlockedError,
    EvaluationError,
    ExpressionError,
    OffloadedDataError,
    TemplateSyntaxError,
    UnknownFunctionError,
)
from core.expressions.paths import Json, Path
from core.expressions.references import References
from core.expressions.roots import INPUTS, ITEM, PREVIOUS, STEPS, TEMPLATE_ROOTS
from core.expressions.template import builtins, jsontext, nodes, parser
from core.expressions.template.compiler import TemplateProgram
from core.expressions.template.functions import Context, Function, FunctionTable

MAX_TEMPLATE_CHARACTERS: Final = 1 << 20
CACHED_TEMPLATE_BYTES: Final = 32 << 20
"""About the memory of the compiled templates that were used last: thousands of usual ones."""
CACHED_FACT_BYTES: Final = 8 << 20
"""The same for what follows from a text without evaluating it."""
LEXEME_BYTES: Final = 500
"""What a word or sign of a template takes when it is compiled, at most."""

_GUESSED_ROOTS: Final = (INPUTS, STEPS)
_MAY_HOLD_REFERENCES: Final = (ITEM, PREVIOUS)
"""Roots besides ``steps`` whose value may be in object storage."""
_WORD: Final = re.compile(r"\w+")
_BUILT_IN_NAMES: Final = builtins.FUNCTIONS.keys() | {"len", "slice"}
_DOTTED_PATH: Final = re.compile(
    rf"(?:\.|(?=(?:{'|'.join(TEMPLATE_ROOTS)})(?:\.|\Z)))([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)\Z"
)


def _all_functions() -> FunctionTable:
    functions = FunctionTable()
    functions.include(builtins.FUNCTIONS, sprig.FUNCTIONS)
    return functions


FUNCTIONS: Final[Mapping[str, Function]] = _all_functions()


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled string. ``step_offsets`` has its steps, each with the place of its first reference. ``path`` is set
    when the string is one path whose value keeps its type. ``is_single`` is set when it is one action with functions of
    the language itself; if the resulting text is JSON, it is parsed. ``is_action`` is set when it is one action with
    any functions: a list or map that it gives keeps its type. ``checked_steps`` and ``checked_roots`` are those in
    which a storage reference would be noticed.
    """

    text: str
    tree: nodes.Tree
    references: References
    step_offsets: tuple[tuple[str, int], ...]
    path: Path | None
    is_single: bool
    is_action: bool
    checked_steps: tuple[str, ...]
    checked_roots: tuple[str, ...]
    program: TemplateProgram

    def evaluate(self, variables: Mapping[str, Json], context: Context) -> Json:
        """The value of the string over ``variables``; it shares parts with them, without copies.

        Raises:
            ExpressionError: with the place in the text.
        """
        try:
            if self.references.any_step_counts and not context.finished:
                raise BlockedError("steps is used as a whole, and not all steps have finished", steps=frozenset())
            if self.path is not None:
                context.meter.spend()
                return paths.follow(self.path, variables)
            if self.checked_steps or self.checked_roots:
                self._refuse_offloaded(variables, context)
            return self._render(variables, context)
        except ExpressionError as error:
            error.locate(self.text)
            raise

    def _refuse_offloaded(self, variables: Mapping[str, Json], context: Context) -> None:
        steps = variables.get(STEPS)
        if isinstance(steps, dict):
            for name in self.checked_steps:
                if _is_offloaded(steps.get(name), context):
                    raise _offloaded(f"the output of step {name}", name, "steps.a.output.key")
        for root in self.checked_roots:
            if _is_offloaded(variables.get(root), context):
                raise _offloaded(root, root, f"{root}.key")

    def _render(self, variables: Mapping[str, Json], context: Context) -> Json:
        try:
            render = self.program.render_or_collect if self.is_action else self.program.render
            value = render(variables, context)
        except EvaluationError as error:
            if isinstance(error, (BlockedError, OffloadedDataError)):
                raise
            raise self._blocked_by(variables, error) or error from None
        if self.is_single and isinstance(value, str):
            try:
                return jsontext.decode(value)
            except ValueError:
                return value
        return value

    def _blocked_by(self, variables: Mapping[str, Json], error: EvaluationError) -> BlockedError | None:
        """The error as a wait, if a step that the template names has not delivered its output."""
        steps = variables.get("steps")
        present = steps.keys() if isinstance(steps, dict) else frozenset()
        missing = frozenset(self.references.steps - present)
        if not missing and not self.references.unknown_steps:
            return None
        blocked = BlockedError(str(error.message), steps=missing, subject=error.subject)
        blocked.fault, blocked.remedy = error.fault, error.remedy
        blocked.offset, blocked.position = error.offset, error.position
        return blocked


@kept_by_text(CACHED_TEMPLATE_BYTES, lambda template: LEXEME_BYTES * template.tree.lexemes)
def compile_template(text: str) -> Template:
    """The template in ``text``.

    Raises:
        TemplateSyntaxError: with line, column and remedy.
    """
    try:
        tree, program = _build(text)
    except TemplateSyntaxError as error:
        error.remedy = _suggestion(text, error) or error.remedy
        error.locate(text)
        raise
    used, step_offsets = references.of_tree(tree)
    action = _single_action(text, tree)
    path = _path_of(text, action) if action and used.functions <= _BUILT_IN_NAMES else None
    is_single = action is not None and used.functions <= _BUILT_IN_NAMES
    checked = tuple(root for root in _MAY_HOLD_REFERENCES if root in used.roots)
    static = tuple(sorted(used.static_steps))
    return Template(text, tree, used, step_offsets, path, is_single, action is not None, static, checked, program)


def _is_offloaded(value: Json, context: Context) -> bool:
    """Whether a storage reference is anywhere in ``value``; the search runs once per evaluation."""
    if not isinstance(value, (dict, list)) or id(value) in context.without_references:
        return False
    if paths.holds_reference(value, context.meter):
        return True
    context.without_references[id(value)] = value
    return False


def _offloaded(what: str, subject: str, path: str) -> OffloadedDataError:
    return OffloadedDataError(
        f"{what} is in object storage and is used inside a larger template",
        subject=subject,
        remedy=f"use a plain path, as in {{{{ {path} }}}}, to pass the reference on",
    )


def _suggestion(text: str, error: TemplateSyntaxError) -> str:
    """The likely meaning of an unknown function name: a function, or the root of a path."""
    word = _WORD.match(text, error.offset or 0)
    if word is None or not isinstance(error, UnknownFunctionError) or error.subject != word[0]:
        return ""
    is_path = text.startswith(".", word.end())
    guess = closest(word[0], _GUESSED_ROOTS if is_path else FUNCTIONS)
    return f"did you mean {guess}?" if guess else ""


def _build(text: str) -> tuple[nodes.Tree, TemplateProgram]:
    if len(text) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateSyntaxError(f"a template holds at most {MAX_TEMPLATE_CHARACTERS} characters", offset=0)
    try:
        tree = parser.parse(text, FUNCTIONS, sprig.REFUSED)
        return tree, TemplateProgram(tree, FUNCTIONS)
    except RecursionError as error:  # the caller is already deep in the stack
        raise TemplateSyntaxError("the template is nested too deeply", offset=0) from error


def _single_action(text: str, tree: nodes.Tree) -> nodes.Action | None:
    """The one action of the text, without white space and comments around it; None for other texts."""
    trimmed = text.strip()
    if not (trimmed.startswith("{{") and trimmed.endswith("}}")):
        return None
    start = text.index(trimmed)
    inside = [
        statement
        for statement in tree.root
        if not (
            isinstance(statement, nodes.Text)
            and (statement.offset < start or statement.offset + len(statement.value) > start + len(trimmed))
            and not statement.value.strip()
        )
    ]
    if len(inside) == 1 and isinstance(inside[0], nodes.Action):
        return inside[0]
    return None


def _path_of(text: str, action: nodes.Action) -> Path | None:
    trimmed = text.strip()
    if action.trimmed or action.end - action.offset != len(trimmed):
        return None
    body = trimmed[2:-2].strip()
    dotted = _DOTTED_PATH.match(body)
    if dotted:
        return Path(tuple(dotted[1].split(".")))
    return paths.of_pipe(action.pipe, spaced=body.startswith("(") and body[1:2].isspace())
