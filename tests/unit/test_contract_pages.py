"""The pages in ``docs/contract`` name what clients see: keys, labels, annotations, reasons, variables, series."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from core.api import keys
from core.api.phases import ImpulseReason, Phase, Reason
from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, CONTROLLER_FIELDS, KEYS
from core.telemetry.catalogue import CATALOGUE

ROOT: Final = Path(__file__).parent.parent.parent
CONTRACT: Final = ROOT / "docs" / "contract"
STORY_RUN, STEP_RUN, OPERATOR, TRIGGERS = (
    (CONTRACT / page).read_text(encoding="utf-8")
    for page in ("storyrun.md", "steprun.md", "operator.md", "triggers.md")
)
VARIABLE: Final = re.compile(r'"((?:BUBU|AWS)_[A-Z0-9_]*[A-Z0-9])"')
QUEUE_FIELDS: Final = ("max-concurrent-reconciles", "rate-limiter.base-delay", "rate-limiter.max-delay")


def missing(names: Iterable[str], text: str) -> list[str]:
    """Names that ``text`` does not have in backquotes, alone or before a value (``name=value``, ``name: value``)."""
    return [name for name in names if not re.search(rf"`{re.escape(name)}[`=:]", text)]


def test_each_key_of_the_configuration_is_named() -> None:
    of_controllers = {f"{controller}.{field}" for controller in CONTROLLER_FIELDS for field in QUEUE_FIELDS}
    families = {"loop", "steprun"}
    single = [key for key in ACCEPTED_WITHOUT_EFFECT if not any(key.startswith(f"{family}.") for family in families)]

    assert missing(sorted({*KEYS, *single} - of_controllers), OPERATOR) == []
    assert missing([f"{family}.*" for family in sorted(families)], OPERATOR) == []
    assert missing([*CONTROLLER_FIELDS, *(f"<name>.{field}" for field in QUEUE_FIELDS)], OPERATOR) == []


def test_each_series_is_named() -> None:
    assert [series.name for series in CATALOGUE if not re.search(rf"`{series.name}[`{{]", OPERATOR)] == []


def test_each_label_annotation_and_finalizer_is_named() -> None:
    ours = {value for value in vars(keys).values() if isinstance(value, str) and "bubustack.io/" in value}

    assert missing(sorted(ours - {keys.DOMAIN}), STORY_RUN + STEP_RUN + OPERATOR + TRIGGERS) == []


def test_each_reason_and_phase_is_named() -> None:
    assert missing(Reason, STORY_RUN + STEP_RUN + OPERATOR) == []
    assert [phase for phase in Phase if phase not in STORY_RUN] == []
    assert missing(ImpulseReason, TRIGGERS) == []


def test_each_variable_of_a_container_is_named() -> None:
    modules = ("environment", "secrets", "storage", "tls")
    named = {
        name for module in modules for name in VARIABLE.findall((ROOT / f"core/workloads/{module}.py").read_text())
    }

    assert len(named) > 40
    assert missing(sorted(named), STEP_RUN) == []
    of_listeners = VARIABLE.findall((ROOT / "core/workloads/impulse_environment.py").read_text())
    assert len(of_listeners) > 15
    assert missing(sorted(of_listeners), TRIGGERS) == []


def not_built() -> set[str]:
    """The sections that say so, as links from the pages of the docs. What is not planned is not missing."""
    found = set()
    for page in sorted(CONTRACT.glob("[!R]*.md")):
        title = ""
        for line in page.read_text(encoding="utf-8").replace("Not built\nyet", "Not built yet").splitlines():
            if line.startswith("#"):
                title = re.sub(r"[^a-z0-9 _-]", "", line.lstrip("# ").lower()).replace(" ", "-")
            if "Not built yet" in line and "not planned" not in line:
                found.add(f"contract/{page.name}#{title}")
    return found


def test_the_list_of_what_is_not_there_yet_has_all_that_the_contract_says_is_not_built() -> None:
    listed = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8").partition("\n## Not there yet\n")[2]

    assert not_built() - set(re.findall(r"\]\(([^)]+)\)", listed)) == set()
