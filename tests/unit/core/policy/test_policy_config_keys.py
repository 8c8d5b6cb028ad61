"""Each key does something or is in the list of those that do nothing, and there is no setting that nobody can set."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, KEYS
from core.policy.settings import OperatorSettings

ROOT: Final = Path(__file__).parents[4]
PRODUCTION: Final = ("core", "reconcilers", "webhooks", "certs", "manager")
"""The operator's process; the command and the embedded cluster do not count."""
CARRIERS: Final = (
    *("core.policy.settings", "core.workloads.step_workload"),
    *("reconcilers.registration", "webhooks.cluster_view"),
)
"""Modules whose types have the settings, or carry them."""
OWN: Final = {f"core/policy/{name}.py" for name in ("config", "config_keys", "config_values", "settings")}
"""Where settings are made, which does not count as a use."""
KEYS_WITH_A_NAME: Final = {("runs", "queues"), ("runs", "max_priorities")}
"""Fields that ``storyrun.queue.<name>.*`` and ``storyrun.namespace.<name>.*`` set."""


def attributes_read() -> Iterator[str]:
    """Each ``….name`` that is read in a module that imports a type which has settings."""
    for path in (path for folder in PRODUCTION for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.relative_to(ROOT).as_posix() in OWN or not any(
            f"from {carrier} import" in text for carrier in CARRIERS
        ):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                yield node.attr


READ: Final = frozenset(attributes_read())


def fields_of(settings: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from fields_of(value, (*path, field.name))
        else:
            yield (*path, field.name)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_each_key_is_read_by_the_operator(key: str) -> None:
    group, *rest = KEYS[key].path
    if group != "controllers":  # the common values reach each controller's own, where those are zero
        assert group in READ, f"nothing reads settings.{group}: use it, or list {key} as without effect"
    assert set(rest) <= READ, f"nothing reads {group}.{rest[0]}: use it, or list {key} as without effect"


def test_no_key_both_has_an_effect_and_has_none() -> None:
    assert KEYS.keys() & ACCEPTED_WITHOUT_EFFECT == set()


def test_each_setting_has_a_key() -> None:
    assert set(fields_of(OperatorSettings())) == {key.path for key in KEYS.values()} | KEYS_WITH_A_NAME
