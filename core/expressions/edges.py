"""The steps that a step waits for because its expressions read them, including the branches of a ``parallel`` step.

Pure: steps in wire form in, names out. Admission and the engine both use this module, so they see the same graph. The
condition of a ``wait`` step adds no dependency: it may watch a step that is running. Source: StoryRun contract 8.1;
branches, items and loops are extensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from core.api.identity import step_alias
from core.api.objects import ReadOnlyObject
from core.expressions import analysis, references
from core.expressions.fields import MAX_BRANCHES, STEP_LISTS
from core.expressions.references import References
from core.graph.needs import aliases_of


def branch_owners(spec: ReadOnlyObject) -> dict[str, str]:
    """The names by which expressions refer to branches → the step of the Story's lists that contains the branch.

    A name is the last part of the branch's name, or the same with underscores. If several branches have one name, it
    belongs to the first in spec order; a step's own name or alias always has precedence. Bodies of ``forEach`` are not
    included: they run once for each item, and their outputs are in ``steps.<step>.output.items``.
    """
    return _owners(spec, of_items=False)


def item_owners(spec: ReadOnlyObject) -> dict[str, str]:
    """Names of the bodies of ``forEach`` → the step of the Story's lists that contains them, as ``branch_owners``."""
    return _owners(spec, of_items=True)


def steps_read(step: ReadOnlyObject, owners: Mapping[str, str]) -> frozenset[str]:
    """Steps whose outputs must exist before ``step``, one of the Story's lists, can start; by name or alias.

    A branch is represented by the step that contains it. References between branches of one step are left out: they run
    side by side. Names that are neither a step nor a branch are included.

    Args:
        owners: the result of ``branch_owners``.
    """
    name, found = step.get("name"), {owners.get(read, read) for read in references_of(step).steps}
    for branch, _ in _below(step, 0):
        found.update(owners.get(read, read) for read in references_of(branch).steps if owners.get(read) != name)
    return frozenset(found)


def references_of(step: ReadOnlyObject) -> References:
    """The references that the expressions of one step or branch need before or during its execution, without its
    branches.
    """
    return references.union(_references(step))


def read_per_packet(condition: object, runtime: object, names: Iterable[str]) -> frozenset[str] | None:
    """The steps among ``names`` that ``if`` and ``runtime`` of a realtime step read; None: perhaps all of them."""
    found = _of_condition(condition) | analysis.references_of(runtime)
    if found.unknown_steps:
        return None
    known = aliases_of(names)
    return frozenset(known[read] for read in found.steps if read in known)


def _references(step: ReadOnlyObject) -> Iterator[References]:
    yield _of_condition(step.get("if"))
    parameters = step.get("with")
    has_input = step.get("ref") or step.get("run")
    if has_input or step.get("type") == "executeStory":
        yield analysis.references_of(parameters)
    if not has_input and isinstance(parameters, Mapping):
        if step.get("type") == "executeStory":
            yield _of_condition(parameters.get("until"))
        elif step.get("type") == "parallel":
            yield analysis.references_of(parameters.get("forEach"))


def _of_condition(text: object) -> References:
    return analysis.condition_references(text) if isinstance(text, str) and text.strip() else references.NO_REFERENCES


def _owners(spec: ReadOnlyObject, *, of_items: bool) -> dict[str, str]:
    steps = [step for list_name in STEP_LISTS for step in _with_names(spec.get(list_name))]
    taken = {spelling for step in steps for spelling in _spellings(step)}
    owners: dict[str, str] = {}
    for step in steps:
        for branch, is_below_items in _below(step, 0):
            for spelling in _spellings(branch) if is_below_items is of_items else ():
                if spelling not in taken:
                    owners.setdefault(spelling, step["name"])
    return owners


def _below(step: ReadOnlyObject, depth: int, *, is_below_items: bool = False) -> Iterator[tuple[ReadOnlyObject, bool]]:
    """All branches below ``step``, each with the flag whether it exists once for each item."""
    parameters = step.get("with")
    if depth >= MAX_BRANCHES or step.get("type") != "parallel" or not isinstance(parameters, Mapping):
        return
    is_below_items = is_below_items or "forEach" in parameters
    for branch in _with_names(parameters.get("steps")):
        yield branch, is_below_items
        yield from _below(branch, depth + 1, is_below_items=is_below_items)


def _with_names(steps: object) -> Iterator[ReadOnlyObject]:
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, Mapping) and isinstance(step.get("name"), str):
            yield step


def _spellings(step: ReadOnlyObject) -> tuple[str, str]:
    name = str(step["name"])
    return name, step_alias(name)
