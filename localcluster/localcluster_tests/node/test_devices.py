"""Which devices a Pod asks for, and which of them are missing."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from localcluster.node.devices import missing_devices, wanted_devices

GPU = "nvidia.com/gpu"


def pod(*limits: dict[str, str], init: tuple[dict[str, str], ...] = ()) -> dict[str, Any]:
    def container(amounts: dict[str, str]) -> dict[str, Any]:
        return {"name": "c", "resources": {"limits": amounts, "requests": {"cpu": "9"}}}

    return {"containers": [*map(container, limits)], "initContainers": [*map(container, init)]}


@pytest.mark.parametrize(
    ("wanting", "found"),
    [
        (pod({"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"}), {}),
        (pod({GPU: "0"}), {}),
        (pod({GPU: "1"}, {GPU: "2", "hugepages-2Mi": "4Mi"}), {GPU: 3, "hugepages-2Mi": 4 << 20}),
        (pod({GPU: "1"}, init=({GPU: "4"}, {GPU: "2"})), {GPU: 4}),
        ({"containers": [{"name": "c"}]}, {}),
    ],
)
def test_containers_ask_together_and_init_containers_one_after_the_other(
    wanting: dict[str, Any], found: dict[str, int]
) -> None:
    assert wanted_devices(wanting) == found


def test_what_others_hold_is_not_free() -> None:
    wanted, held = {GPU: Fraction(2), "a.b/c": Fraction(1)}, [{GPU: Fraction(1)}, {GPU: Fraction(1)}]
    assert missing_devices(wanted, {GPU: "3"}, held) == ["a.b/c", GPU]
    assert missing_devices(wanted, {GPU: "4", "a.b/c": "1"}, held) == []
    assert missing_devices(wanted, {}, []) == ["a.b/c", GPU]
