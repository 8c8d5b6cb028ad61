"""The DAG of a Story as text for terminals, Mermaid, Graphviz and SVG; the DAG of a run also has phases. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from core.api.phases import Phase
from core.graph.needs import Graph
from views.graph_layout import BOX_HEIGHT, BOX_WIDTH, Point, lay_out
from views.sign import sign_of, word_of

FORMATS: Final = ("ascii", "mermaid", "dot", "svg")

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
    layout = lay_out(layers(drawing.graph), drawing.graph.needs)
    size = f'viewBox="0 0 {layout.width:g} {layout.height:g}" width="{layout.width:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        f"<title>{escape(drawing.title)}</title>",
        f'<rect width="{layout.width:g}" height="{layout.height:g}" fill="white"/>',
        *(_edge(points, drawing.rates.get(ends, "")) for ends, points in layout.lines.items()),
        *(_box(drawing, step, place.x, place.y) for step, place in layout.boxes.items()),
        "</svg>",
    ]
    return "\n".join(parts)


def _edge(points: Sequence[Point], rate: str) -> str:
    curves = [f"M{points[0].x:g} {points[0].y:g}"]
    for begin, end in zip(points[::2], points[1::2], strict=True):
        middle = (begin.x + end.x) / 2
        curves.append(f"L{begin.x:g} {begin.y:g} C{middle:g} {begin.y:g} {middle:g} {end.y:g} {end.x:g} {end.y:g}")
    tip = points[-1]
    head = f"M{tip.x - 7:g} {tip.y - 4:g} L{tip.x:g} {tip.y:g} L{tip.x - 7:g} {tip.y + 4:g}"
    line = f'<path d="{" ".join(curves)} {head}" fill="none" stroke="#7a7a7a"/>'
    if not rate:
        return line
    begin, end = points[-2], tip
    at = f'x="{(begin.x + end.x) / 2:g}" y="{(begin.y + end.y) / 2 - 5:g}"'
    return f'{line}<text {at} text-anchor="middle" fill="#555" font-size="11">{escape(rate)}</text>'


def _box(drawing: Drawing, step: str, x: float, y: float) -> str:
    phase = drawing.phases.get(step) if drawing.phases is not None else None
    fill = _FILL.get(phase, "#ffffff") if phase else "#ffffff"
    second = word_of(phase) if drawing.phases is not None else drawing.kinds[step]
    name = step if len(step) <= 24 else f"{step[:23]}…"
    return (
        f"<g><title>{escape(step)}</title>"
        f'<rect x="{x:g}" y="{y:g}" width="{BOX_WIDTH:g}" height="{BOX_HEIGHT:g}" rx="6" fill="{fill}" stroke="#444"/>'
        f'<text x="{x + 10:g}" y="{y + 17:g}" font-weight="bold">{escape(name)}</text>'
        f'<text x="{x + 10:g}" y="{y + 32:g}" fill="#555" font-size="11">{escape(second)}</text></g>'
    )
