"""Each shipped alert fires on bad series, and is silent on good ones, in gaps of Prometheus and after restarts.

promtool evaluates the rules as Prometheus does. It comes from PATH or from Debian's package (a second, 19 MB).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.observability.promtool import ALERTS, CASES, ROOT, RULES, run, write_rules_of, write_unit_tests
from tools.control_plane.binaries import MissingBinariesError, ensure_debian_program
from tools.control_plane.building import BuildError


@pytest.fixture(scope="module")
def promtool() -> Path:
    try:
        return ensure_debian_program("prometheus", "promtool")
    except (MissingBinariesError, BuildError) as error:
        pytest.skip(str(error))


def test_promtool_accepts_the_rules(promtool: Path) -> None:
    code, said = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", str(RULES))

    assert code == 0, said


def test_promtool_accepts_the_scrape_configuration_of_the_page(promtool: Path, tmp_path: Path) -> None:
    """Except the discovery of Pods, which Debian builds Prometheus without."""
    page = (ROOT / "docs/monitoring.md").read_text()
    text = page.partition("```yaml\n# prometheus.yaml\n")[2].partition("```")[0]
    text = re.sub(r"kubernetes_sd_configs: .*", "static_configs: [{targets: [localhost:8443]}]", text)
    (tmp_path / "prometheus.yaml").write_text(text)

    code, said = run(promtool, "check", "config", "--syntax-only", str(tmp_path / "prometheus.yaml"))

    assert code == 0, said
    assert "SUCCESS" in said


@pytest.mark.parametrize("name", ALERTS)
def test_the_alert_fires_when_it_should_and_only_then(name: str, promtool: Path, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.alert == name]

    rules = write_rules_of(name, tmp_path / "rules.yaml")
    code, said = run(promtool, "test", "rules", str(write_unit_tests(cases, tmp_path / "tests.yaml", rules)))

    assert code == 0, said


def test_a_threshold_that_nobody_reaches_is_found(promtool: Path, tmp_path: Path) -> None:
    """The tests of the alerts can fail."""
    deaf = write_rules_of("BobrapetMemoryHigh", tmp_path / "rules.yaml")
    deaf.write_text(deaf.read_text().replace("> 0.85 * ", "> 2 * "))
    cases = [case for case in CASES if case.alert == "BobrapetMemoryHigh"]

    code, said = run(promtool, "test", "rules", str(write_unit_tests(cases, tmp_path / "tests.yaml", deaf)))

    assert code != 0
    assert "950 MiB" in said
