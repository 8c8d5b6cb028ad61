"""The table of docs/write-budget.md, from the budget. Pure."""

from __future__ import annotations

from tests.e2e.write_budget.budget import BUDGET, SCENARIOS, Part

HEAD = ("| for | who | request | number | why |", "|---|---|---|---|---|")
SCENARIO_HEAD = ("| scenario | its parts | ours, at most |", "|---|---|---|")


def cost_rows() -> list[str]:
    """One row for each kind of request of each part; a part without one says so."""
    rows = []
    for part, costs in BUDGET.items():
        if not costs:
            rows.append(f"| {part} | | | 0 | Nothing polls. |")
        for cost in costs:
            request, number = cost.request, f"≤ {cost.most}" if cost.varies else str(cost.most)
            rows.append(f"| {part} | {request.sender} | {request.verb} `{request.target}` | {number} | {cost.why} |")
    return rows


def scenario_rows() -> list[str]:
    """One row for each scenario of the test."""
    return [
        f"| {name.replace('_', ' ')} | {_parts(budget.parts)} | {budget.most.total()} |"
        for name, budget in SCENARIOS.items()
    ]


def _parts(parts: object) -> str:
    assert isinstance(parts, dict)
    return "; ".join(f"{number} × {_word(part)}" if number > 1 else _word(part) for part, number in parts.items())


def _word(part: Part) -> str:
    return part.removeprefix("… ")
