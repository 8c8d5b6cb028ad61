"""The DAG of a Story as text for terminals, Mermaid, Graphviz and SVG; the DAG of a run also has phases. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final

from core.api.phases import Phase
from core.graph.needs import Graph
from views.sign import sign_of, word_of

FORMATS: Final = ("ascii", "mermaid", "dot", "svg")

_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 176, 40, 64, 18, 16
_FILL: Final = {
    Phase.SUCCEEDED: "#d7f2dd",
    Phase.RUNNING: "#d6ecf8",
    Phase.PAUSED: "#fbeecb",
    Phase.BLOCKED: "#fbeecb",
    Phase.FAILED: "#f8d7d7",
    Phase.TIMEOUT: "#f8d7d7",
    Phase.ABORTED: "#f8d7d7",
    Phase.CANCELED: "#eddcf2",
    Phase.FINISHED: "#eddcf2",
    Phase.SKIPPED: "#eeeeee",
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """The content of a drawing: the graph, the kind of each step, and, for a run, how far each step has come."""

    title: str
    graph: Graph
    kinds: Mapping[str, str]
    """Step → ``engram`` or the primitive's type."""
    phases: Mapping[str, Phase] | None = None
    rates: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(need, step) → how fast messages pass between them, in a realtime run."""

    def label(self, step: str) -> str:
        kind = self.kinds[step]
        return step if kind == "engram" else f"{step} ({kind})"


def draw(drawing: Drawing, format_: str, *, ascii_only: bool = False) -> str:
    """The drawing as text; ``format_`` is one of ``FORMATS``."""
    match format_:
        case "mermaid":
            return _mermaid(drawing)
        case "dot":
            return _dot(drawing)
        case "svg":
            return _svg(drawing)
        case _:
            return _text(drawing, ascii_only)


def layers(graph: Graph) -> list[list[str]]:
    """Steps, grouped by the length of the longest path to them; each layer is in spec order."""
    depth: dict[str, int] = {}
    pending = list(graph.order)
    while pending:
        settled = [step for step in pending if all(need in depth for need in graph.needs[step])]
        if not settled:  # a cycle: the remaining steps have no order, and are shown last
            depth |= dict.fromkeys(pending, max(depth.values(), default=-1) + 1)
            break
        for step in settled:
            depth[step] = max((depth[need] + 1 for need in graph.needs[step]), default=0)
        pending = [step for step in pending if step not in depth]
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for step in graph.order:
        found[depth[step]].append(step)
    return found


def _text(drawing: Drawing, ascii_only: bool) -> str:
    arrow = "<-" if ascii_only else "←"
    width = max((len(drawing.label(step)) for step in drawing.graph.order), default=0)
    lines = [drawing.title]
    for number, layer in enumerate(layers(drawing.graph), start=1):
        for index, step in enumerate(layer):
            lead = f"{number:>3}  " if index == 0 else "     "
            needs = drawing.graph.needs[step]
            tail = f"{arrow} {', '.join(_with_rate(drawing, need, step) for need in needs)}" if needs else ""
            lines.append(f"{lead}{_mark(drawing, step, ascii_only)}{drawing.label(step):<{width}}  {tail}".rstrip())
    return "\n".join(lines)


def _with_rate(drawing: Drawing, need: str, step: str) -> str:
    return f"{need} {drawing.rates.get((need, step), '')}".rstrip()


def _mark(drawing: Drawing, step: str, ascii_only: bool) -> str:
    if drawing.phases is None:
        return ""
    phase = drawing.phases.get(step)
    return f"{word_of(phase):<10} " if ascii_only else f"{sign_of(phase)} {word_of(phase):<10} "


def _mermaid(drawing: Drawing) -> str:
    names = {step: f"s{index}" for index, step in enumerate(drawing.graph.order)}
    lines = ["flowchart LR"]
    for step, name in names.items():
        text = drawing.label(step) + (f"<br/>{word_of(drawing.phases.get(step))}" if drawing.phases is not None else "")
        lines.append(f'  {name}["{text}"]')
    for step in drawing.graph.order:
        for need in drawing.graph.needs[step]:
            rate = drawing.rates.get((need, step), "")
            lines.append(f"  {names[need]} -->{f'|{rate}|' if rate else ''} {names[step]}")
    if drawing.phases is not None:
        for step, phase in drawing.phases.items():
            if phase in _FILL and step in names:
                lines.append(f"  style {names[step]} fill:{_FILL[phase]}")
    return "\n".join(lines)


def _dot(drawing: Drawing) -> str:
    lines = ["digraph story {", "  rankdir=LR;", '  node [shape=box, style="rounded,filled", fillcolor=white];']
    for step in drawing.graph.order:
        phase = drawing.phases.get(step) if drawing.phases is not None else None
        text = drawing.label(step) + (f"\\n{word_of(phase)}" if drawing.phases is not None else "")
        fill = f', fillcolor="{_FILL[phase]}"' if phase in _FILL else ""
        lines.append(f'  "{step}" [label="{text}"{fill}];')
    for step in drawing.graph.order:
        for need in drawing.graph.needs[step]:
            rate = drawing.rates.get((need, step), "")
            label = f' [label="{rate}"]' if rate else ""
            lines.append(f'  "{need}" -> "{step}"{label};')
    return "\n".join([*lines, "}"])


def _svg(drawing: Drawing) -> str:
    columns = layers(drawing.graph)
    rows = max((len(column) for column in columns), default=1)
    width = 2 * _MARGIN + max(len(columns), 1) * (_BOX_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + rows * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y
    places = {
        step: (
            _MARGIN + x * (_BOX_WIDTH + _GAP_X),
            _MARGIN + (rows - len(column)) * (_BOX_HEIGHT + _GAP_Y) / 2 + y * (_BOX_HEIGHT + _GAP_Y),
        )
        for x, column in enumerate(columns)
        for y, step in enumerate(column)
    }
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        f"<title>{escape(drawing.title)}</title>",
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        *(
            _edge(places, need, step, drawing.rates.get((need, step), ""))
            for step in drawing.graph.order
            for need in drawing.graph.needs[step]
        ),
        *(_box(drawing, step, *places[step]) for step in drawing.graph.order),
        "</svg>",
    ]
    return "\n".join(parts)


def _edge(places: Mapping[str, tuple[float, float]], need: str, step: str, rate: str) -> str:
    (left, above), (right, below) = places[need], places[step]
    x1, y1, x2, y2 = left + _BOX_WIDTH, above + _BOX_HEIGHT / 2, right, below + _BOX_HEIGHT / 2
    middle = (x1 + x2) / 2
    head = f"M{x2 - 7:g} {y2 - 4:g} L{x2:g} {y2:g} L{x2 - 7:g} {y2 + 4:g}"
    curve = f"M{x1:g} {y1:g} C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"
    line = f'<path d="{curve} {head}" fill="none" stroke="#7a7a7a"/>'
    if not rate:
        return line
    at = f'x="{middle:g}" y="{(y1 + y2) / 2 - 5:g}" text-anchor="middle" fill="#555" font-size="11"'
    return f"{line}<text {at}>{escape(rate)}</text>"


def _box(drawing: Drawing, step: str, x: float, y: float) -> str:
    phase = drawing.phases.get(step) if drawing.phases is not None else None
    fill = _FILL.get(phase, "#ffffff") if phase else "#ffffff"
    second = word_of(phase) if drawing.phases is not None else drawing.kinds[step]
    name = step if len(step) <= 24 else f"{step[:23]}…"
    return (
        f"<g><title>{escape(step)}</title>"
        f'<rect x="{x:g}" y="{y:g}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6" fill="{fill}" stroke="#444"/>'
        f'<text x="{x + 10:g}" y="{y + 17:g}" font-weight="bold">{escape(name)}</text>'
        f'<text x="{x + 10:g}" y="{y + 32:g}" fill="#555" font-size="11">{escape(second)}</text></g>'
    )
