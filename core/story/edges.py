"""The steps that a step waits for because its expressions read them, including the branches of a ``parallel`` step.

Pure. Admission and the engine both use this module, so they see the same graph. Source: StoryRun contract 8.1;
branches, items and loops are extensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bubu_contract.identity import step_alias
from core.expressions import analysis, references
from core.expressions.references import References
from core.graph.needs import aliases_of
from core.story.fields import FieldKind, start_parts
from core.story.step import Step
from core.story.story import Story, with_branches


def branch_owners(story: Story) -> dict[str, str]:
    """The names by which expressions refer to branches → the step of the Story's lists that contains the branch.

    A name is the last part of the branch's name, or the same with underscores. If several branches have one name, it
    belongs to the first in spec order; a step's own name or alias always has precedence. Bodies of ``forEach`` are not
    included: they run once for each item, and their outputs are in ``steps.<step>.output.items``.
    """
    return _owners(story, of_items=False)


def item_owners(story: Story) -> dict[str, str]:
    """Names of the bodies of ``forEach`` → the step of the Story's lists that contains them, as ``branch_owners``."""
    return _owners(story, of_items=True)


def steps_read(step: Step, owners: Mapping[str, str]) -> frozenset[str]:
    """Steps whose outputs must exist before ``step``, one of the Story's lists, can start; by name or alias.

    A branch is represented by the step that contains it. References between branches of one step are left out: they run
    side by side. Names that are neither a step nor a branch are included.

    Args:
        owners: the result of ``branch_owners``.
    """
    found = {owners.get(read, read) for read in references_of(step).steps}
    for branch in _below(step):
        found.update(owners.get(read, read) for read in references_of(branch).steps if owners.get(read) != step.name)
    return frozenset(found)


def references_of(step: Step) -> References:
    """The references that the expressions of one step or branch need before or during its execution, without its
    branches.
    """
    return references.union(
        analysis.condition_references(value) if kind is FieldKind.CONDITION else analysis.references_of(value)
        for _, kind, value in start_parts(step)
    )


def read_per_packet(condition: object, runtime: object, names: Iterable[str]) -> frozenset[str] | None:
    """The steps among ``names`` that ``if`` and ``runtime`` of a realtime step read; None: perhaps all of them."""
    text = condition if isinstance(condition, str) and condition.strip() else ""
    found = analysis.condition_references(text) | analysis.references_of(runtime)
    if found.unknown_steps:
        return None
    known = aliases_of(names)
    return frozenset(known[read] for read in found.steps if read in known)


def _owners(story: Story, *, of_items: bool) -> dict[str, str]:
    steps = [step for step in story.top() if step.name]
    taken = {spelling for step in steps for spelling in _spellings(step)}
    owners: dict[str, str] = {}
    for step in steps:
        for branch in _below(step):
            for spelling in _spellings(branch) if (None in branch.parts) is of_items else ():
                if spelling not in taken:
                    owners.setdefault(spelling, step.name)
    return owners


def _below(step: Step) -> Iterator[Step]:
    return (branch for branch in with_branches(step) if branch.depth and branch.name)


def _spellings(step: Step) -> tuple[str, str]:
    return step.name, step_alias(step.name)
