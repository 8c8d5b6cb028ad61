"""The table of docs/write-budget.md, from the budget. Pure."""

from __future__ import annotations

from tests.e2e.write_budget.budget import BUDGET, Cost, Part
from tests.e2e.write_budget.scenario_budgets import SCENARIOS

HEAD = ("| for | who | request | number | only if | why |", "|---|---|---|---|---|---|")
SCENARIO_HEAD = ("| scenario | its parts | usual: ours / in all |", "|---|---|---|")


def cost_rows() -> list[str]:
    """One row for each kind of request of each part; a part without one says so."""
    rows = []
    for part, costs in BUDGET.items():
        rows += [f"| {part} | {_cells(cost)} |" for cost in costs]
        if not costs:
            rows.append(
                f"| {part} | | | 0 | | It goes on when something reports a change, or when its time has come. |"
            )
    return rows


def _cells(cost: Cost) -> str:
    request, number = cost.request, str(cost.most) if cost.case is None else f"≤ {cost.most}"
    return f"{request.sender} | {request.verb} `{request.target}` | {number} | {cost.case or ''} | {cost.why}"


def scenario_rows() -> list[str]:
    """One row for each scenario of the test."""
    return [
        f"| {name.replace('_', ' ')} | {_parts(budget.parts)} | {budget.usual.ours} / {budget.usual.in_all} |"
        for name, budget in SCENARIOS.items()
    ]


def _parts(parts: object) -> str:
    assert isinstance(parts, dict)
    return "; ".join(f"{number} × {_word(part)}" if number > 1 else _word(part) for part, number in parts.items())


def _word(part: Part) -> str:
    return part.removeprefix("… ")
