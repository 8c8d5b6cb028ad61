"""No line of a drawn graph crosses a box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from core.graph.needs import Declared, build_graph
from views.graph import layers
from views.graph_layout import BOX_HEIGHT, BOX_WIDTH, Layout, lay_out


def laid_out(needs: Mapping[str, Sequence[str]]) -> Layout:
    graph = build_graph([Declared(step, tuple(found), frozenset()) for step, found in needs.items()])
    return lay_out(layers(graph), graph.needs)


def crossings(layout: Layout) -> list[tuple[tuple[str, str], str]]:
    """The lines that touch a box beside the two at their ends."""
    found = []
    for ends, points in layout.lines.items():
        for begin, end in zip(points[1:-1:2], points[2:-1:2], strict=True):  # straight, through a column
            for step, box in layout.boxes.items():
                beside = end.x <= box.x or box.x + BOX_WIDTH <= begin.x
                if not beside and box.y <= begin.y <= box.y + BOX_HEIGHT:
                    found.append((ends, step))
    return found


def test_a_line_goes_around_the_steps_between_its_ends() -> None:
    layout = laid_out({"a": [], "b": ["a"], "c": ["b"], "d": ["a", "c"]})

    assert len(layout.lines["a", "b"]) == 2
    assert len(layout.lines["a", "d"]) == 6
    assert crossings(layout) == []


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"s{number}" for number in range(draw(st.integers(1, 12)))]
    return {
        name: draw(st.lists(st.sampled_from(names[:at]), unique=True, max_size=4)) if at else []
        for at, name in enumerate(names)
    }


@given(graphs())
def test_no_line_crosses_a_box_and_everything_is_inside(needs: dict[str, list[str]]) -> None:
    layout = laid_out(needs)

    assert crossings(layout) == []
    assert set(layout.lines) == {(need, step) for step, found in needs.items() for need in found}
    for points in layout.lines.values():
        assert len(points) % 2 == 0
        assert all(0 < point.x < layout.width and 0 < point.y < layout.height for point in points)
        for begin, end in zip(points[::2], points[1::2], strict=True):  # a curve stays in the gap
            assert 0 < end.x - begin.x < BOX_WIDTH
    boxes = list(layout.boxes.values())
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            assert abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT
