"""A real API server accepts the golden Jobs, and what it makes of them is no difference for ``explain step``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from core.api.objects import Object
from core.workloads.job import step_job
from reconcilers.adapters.ordered_workload import ordered_workload
from tests.unit.core.workloads.golden_jobs import account_of, cases, order
from tests.unit.views.explain_samples import facts
from tools.control_plane.access import load_access
from tools.control_plane.session import SessionCluster
from views.explain.explanation import explain_step

JOBS = "/apis/batch/v1/namespaces/default/jobs"


@pytest.fixture
async def server(steerable: SessionCluster) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an administrator."""
    assert steerable.ready is not None
    access = load_access(steerable.kubeconfig.parent)
    headers = {"authorization": f"Bearer {steerable.ready.admin_token}"}
    async with httpx.AsyncClient(
        base_url=steerable.ready.url, headers=headers, verify=access.tls_context(), timeout=30, trust_env=False
    ) as client:
        yield client


@pytest.mark.parametrize("case", cases())
async def test_a_golden_job_is_accepted_and_read_back_without_a_difference(
    server: httpx.AsyncClient, case: str
) -> None:
    manifest = step_job(ordered_workload(order(case), account_of(order(case))))
    manifest["metadata"] |= {"namespace": "default"}

    answer = await server.post(JOBS, json=manifest, params={"dryRun": "All", "fieldValidation": "Strict"})

    assert answer.status_code == 201, answer.text
    stored: Object = answer.json()
    assert stored != manifest  # the server has filled in defaults
    assert explain_step(replace(facts(case, with_job=True), job=stored)).differing == []
