"""Series exist before their first change, change only while recording, and have the names in the contract."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.telemetry import catalogue, metrics

ROOT = Path(__file__).parents[4]


def test_nothing_is_recorded_before_recording_starts() -> None:
    metrics.count(catalogue.STORY_RUNS, namespace="a", story="b", phase="Succeeded")

    assert metrics.sample("bobrapet_storyruns_total", namespace="a", story="b", phase="Succeeded") is None


def test_every_kind_of_series_moves() -> None:
    with metrics.recording():
        metrics.count(catalogue.STEP_RUNS, 2, namespace="a", engram="b", phase="Failed")
        metrics.observe(catalogue.STEP_RUN_DURATION, 0.4, namespace="a", engram="b", phase="Failed")
        metrics.set_gauge(catalogue.STORY_RUN_STEPS_ACTIVE, 3, namespace="a", story="b")
        metrics.add_gauge(catalogue.STORY_RUN_STEPS_ACTIVE, -1, namespace="a", story="b")

        assert metrics.sample("bobrapet_stepruns_total", namespace="a", engram="b", phase="Failed") == 2
        labels = {"namespace": "a", "engram": "b", "phase": "Failed"}
        assert metrics.sample("bobrapet_steprun_duration_seconds_bucket", **labels, le="0.5") == 1
        assert metrics.sample("bobrapet_steprun_duration_seconds_bucket", **labels, le="0.1") == 0
        assert metrics.sample("bobrapet_storyrun_steps_active", namespace="a", story="b") == 2


def test_an_empty_label_reads_as_unknown() -> None:
    with metrics.recording():
        metrics.observe(catalogue.STORY_RUN_QUEUE_AGE, 1, namespace="", queue="")

        assert metrics.sample("bobrapet_storyrun_queue_age_seconds_count", namespace="(unknown)", queue="unknown") == 1


def test_frozen_series_of_ours_stand_still_while_library_series_move() -> None:
    with metrics.recording():
        metrics.set_enabled(False)
        metrics.count(catalogue.SUBSTORY_REFRESH, controller="storyrun-dag")
        metrics.count(catalogue.CLIENT_REQUESTS, code="200", method="GET", host="h")

        assert metrics.sample("bobrapet_substory_refresh_total", controller="storyrun-dag") is None
        assert metrics.sample("rest_client_requests_total", code="200", method="GET", host="h") == 1


def test_series_that_move_again_show_what_gauges_were_set_to_meanwhile() -> None:
    with metrics.recording():
        shown = {"namespace": "a", "story": "shown"}
        metrics.set_gauge(catalogue.STORY_RUN_STEPS_ACTIVE, 5, **shown)
        metrics.set_enabled(False)
        metrics.add_gauge(catalogue.STORY_RUN_STEPS_ACTIVE, -2, **shown)
        metrics.set_gauge(catalogue.STORY_RUN_STEPS_ACTIVE, 7, namespace="a", story="new")
        metrics.set_gauge(catalogue.STORY_RUN_STEPS_ACTIVE, 9, namespace="a", story="gone")
        metrics.drop(catalogue.STORY_RUN_STEPS_ACTIVE, namespace="a", story="gone")
        assert metrics.sample("bobrapet_storyrun_steps_active", **shown) == 5

        metrics.set_enabled(True)
        assert metrics.sample("bobrapet_storyrun_steps_active", **shown) == 3
        assert metrics.sample("bobrapet_storyrun_steps_active", namespace="a", story="new") == 7
        assert metrics.sample("bobrapet_storyrun_steps_active", namespace="a", story="gone") is None


def test_series_may_be_frozen_before_recording_starts() -> None:
    program = (
        "from core.telemetry import catalogue, metrics\n"
        "metrics.set_enabled(False)\n"
        "metrics.start_recording()\n"
        "metrics.count(catalogue.SUBSTORY_REFRESH, controller='c')\n"
        "assert metrics.sample('bobrapet_substory_refresh_total', controller='c') is None\n"
        "metrics.set_enabled(True)\n"
        "metrics.count(catalogue.SUBSTORY_REFRESH, controller='c')\n"
        "assert metrics.sample('bobrapet_substory_refresh_total', controller='c') == 1\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_dropped_child_is_gone_and_may_be_dropped_again() -> None:
    with metrics.recording():
        labels = {"namespace": "a", "storyrun": "r", "queue": "q"}
        metrics.set_gauge(catalogue.STORY_RUN_QUEUE_DEPTH, 3, **labels)
        metrics.drop(catalogue.STORY_RUN_QUEUE_DEPTH, **labels)
        metrics.drop(catalogue.STORY_RUN_QUEUE_DEPTH, **labels)

        assert metrics.sample("bobrapet_storyrun_queue_depth", **labels) is None


def test_a_missing_label_is_refused_by_name() -> None:
    with metrics.recording(), pytest.raises(ValueError, match="has labels namespace, story, phase"):
        metrics.count(catalogue.STORY_RUNS, namespace="a")


def test_every_series_is_exposed_by_its_name() -> None:
    with metrics.recording():
        render, content_type = metrics.exposition()
        text = render()

    exposed = text.decode()
    missing = [series.name for series in catalogue.CATALOGUE if f"# TYPE {series.name} " not in exposed]
    assert missing == []
    assert content_type.startswith("text/plain")
    assert "process_cpu_seconds_total" in exposed


def test_the_gauge_whose_name_ends_like_a_counter_stays_a_gauge() -> None:
    with metrics.recording():
        metrics.set_gauge(catalogue.IMPULSE_THROTTLED_TRIGGERS, 4, namespace="a", impulse="b")

        assert metrics.sample("bobrapet_impulse_throttled_triggers_total", namespace="a", impulse="b") == 4


def test_importing_telemetry_loads_neither_prometheus_nor_structlog() -> None:
    script = (
        "import sys, core.telemetry.metrics, core.telemetry.logs, core.telemetry.span;"
        "sys.exit(bool({'prometheus_client', 'structlog'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_client_finds_every_series_that_it_changes() -> None:
    """A hub records only these: one that is missing would end it at the first change."""
    clients = ("transport", "watch", "paging", "informer", "lease")
    texts = [(ROOT / f"core/kube/{name}.py").read_text(encoding="utf-8") for name in clients]
    changed = {getattr(catalogue, name) for text in texts for name in re.findall(r"catalogue\.([A-Z_]+)", text)}

    assert changed - set(catalogue.CLIENT_CATALOGUE) == set()
    assert len(changed) > 5


def test_ten_thousand_namespaces_make_a_bounded_number_of_series() -> None:
    with metrics.recording() as recorder:
        for number in range(10_000):
            metrics.count(catalogue.STORY_RUNS, namespace=f"team-{number}", story="daily", phase="Succeeded")
        families = {family.name: family.samples for family in recorder.registry.collect()}

    totals = [sample for sample in families["bobrapet_storyruns"] if sample.name.endswith("_total")]
    assert len(totals) == metrics.MOST_LABEL_SETS
    assert {sample.labels["namespace"] for sample in totals} == {f"team-{number}" for number in range(9_000, 10_000)}


def runs_of(story: str) -> float | None:
    return metrics.sample("bobrapet_storyruns_total", namespace="team", story=story, phase="Failed")


def end_runs_of(*stories: str) -> None:
    for story in stories:
        metrics.count(catalogue.STORY_RUNS, namespace="team", story=story, phase="Failed")


def test_the_label_set_that_has_rested_longest_leaves_a_full_metric() -> None:
    with metrics.recording():
        metrics.set_most_label_sets(3)
        end_runs_of("a", "b", "c", "a", "new")
        assert [runs_of(story) for story in ("a", "b", "c", "new")] == [2, None, 1, 1]
        end_runs_of("b")
        assert [runs_of(story) for story in ("a", "b", "c", "new")] == [2, 1, None, 1]


def test_each_metric_is_full_by_itself_and_its_removed_label_sets_are_counted() -> None:
    def removed(metric: str) -> float | None:
        return metrics.sample("bobrapet_metric_label_sets_removed_total", metric=metric)

    with metrics.recording():
        metrics.set_most_label_sets(2)
        end_runs_of("a", "b", "c", "d")
        for engram in ("a", "b"):
            metrics.observe(catalogue.STEP_RUN_DURATION, 1, namespace="team", engram=engram, phase="Failed")
        assert removed("bobrapet_storyruns_total") == 2
        assert removed("bobrapet_steprun_duration_seconds") is None


def test_a_smaller_bound_applies_at_once_and_a_larger_one_to_the_next_label_sets() -> None:
    with metrics.recording():
        end_runs_of("a", "b", "c")
        metrics.set_most_label_sets(1)
        assert [runs_of(story) for story in ("a", "b", "c")] == [None, None, 1]
        metrics.set_most_label_sets(2)
        end_runs_of("a")
        assert [runs_of(story) for story in ("a", "c")] == [1, 1]


def test_gauges_of_what_lives_stay_however_many_there_are() -> None:
    series = catalogue.STORY_RUN_STEPS_ACTIVE
    with metrics.recording() as recorder:
        for number in range(metrics.MOST_LABEL_SETS + 1):
            metrics.set_gauge(series, 1, namespace="team", story=str(number))
        families = {family.name: family.samples for family in recorder.registry.collect()}

    assert len(families[series.name]) == metrics.MOST_LABEL_SETS + 1


def test_retention_times_of_stories_are_bounded_like_counters() -> None:
    series = catalogue.STORY_RUN_WINDOW
    with metrics.recording():
        metrics.set_most_label_sets(1)
        for story in ("a", "b"):
            metrics.set_gauge(series, 60, namespace="team", story=story, window="retention")
        shown = [metrics.sample(series.name, namespace="team", story=story, window="retention") for story in "ab"]
        assert shown == [None, 60]


def test_a_full_metric_that_is_frozen_does_not_change() -> None:
    with metrics.recording():
        metrics.set_most_label_sets(2)
        end_runs_of("a", "b")
        metrics.set_enabled(False)
        end_runs_of("c")
        assert [runs_of(story) for story in ("a", "b", "c")] == [1, 1, None]
