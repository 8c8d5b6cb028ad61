"""The objects that decide about a step: those of the golden Jobs."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from core.workloads.job import step_job
from reconcilers.adapters.ordered_workload import ordered_workload
from tests.unit.core.workloads import golden_jobs
from views.explain.facts import StepFacts


def facts(case: str = "gpu-training", *, with_job: bool = False, **more: Any) -> StepFacts:
    """The objects of a golden Job. The step has not started, unless ``with_job``."""
    order, given = golden_jobs.order(case), golden_jobs.documents(case)
    found = StepFacts(
        run=order.run,
        story=order.story,
        step_name="work",
        step=order.step,
        engram=given["Engram"],
        template=given["EngramTemplate"],
        config=given["ConfigMap"]["data"],
        config_map=given["ConfigMap"],
    )
    if with_job:
        job = copy.deepcopy(step_job(ordered_workload(order, golden_jobs.account_of(order))))
        if order.binding.retry_spec:
            order.step_run["spec"]["retry"] = dict(order.binding.retry_spec)
        job["metadata"]["creationTimestamp"] = golden_jobs.CREATED
        found = replace(found, step_run=order.step_run, job=job)
    return replace(found, **more)
