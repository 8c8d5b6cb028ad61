from __future__ import annotations

import pytest

from core.api.fieldpath import render


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), ""),
        (("spec",), "spec"),
        (("spec", "steps", 2, "with", "url"), "spec.steps[2].with.url"),
        (("spec", "secrets", "a.b"), 'spec.secrets["a.b"]'),
        (("with", "$bubuStorageRef"), "with.$bubuStorageRef"),
        (("with", ""), 'with[""]'),
        (("with", 'say "hi"'), 'with["say \\"hi\\""]'),
        ((0, 1), "[0][1]"),
    ],
)
def test_paths_read_as_people_write_them(parts: tuple[int | str, ...], expected: str) -> None:
    assert render(parts) == expected
