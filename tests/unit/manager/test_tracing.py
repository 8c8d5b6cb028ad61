"""The settings decide what counts for a run; variables that cannot be used end the export, and nothing else."""

from __future__ import annotations

import subprocess
import sys

from core.policy.settings import OperatorSettings
from core.telemetry.otlp.otlp_settings import OtlpSettings, OtlpSettingsError
from core.telemetry.tracing.run_trace import TraceRules
from core.telemetry.tracing.sampler import Sampler
from manager.tracing import Tracing

ON = OperatorSettings(tracing_enabled=True, trace_propagation=True)


def test_the_rules_follow_the_settings_of_the_moment() -> None:
    chosen = [OperatorSettings()]
    tracing = Tracing(lambda: chosen[0], OtlpSettings(sampler=Sampler(0.5)))
    assert not tracing.rules().records
    chosen[0] = ON
    assert tracing.rules() == TraceRules(True, True, Sampler(0.5))


def test_runs_are_not_traced_if_the_variables_cannot_be_used() -> None:
    assert Tracing(lambda: ON, OtlpSettingsError("OTEL_BSP_MAX_QUEUE_SIZE: …")).rules() == TraceRules(propagates=True)


def test_an_operator_that_exports_nothing_loads_neither_protobuf_nor_the_exporter() -> None:
    program = (
        "import sys, manager.run\n"
        "print([name for name in sys.modules if name.startswith(('google.protobuf', 'opentelemetry'))"
        " or name == 'core.telemetry.otlp.span_exporter'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
