"""Test engrams without a cluster: ``EngramEnvironment`` runs one, ``check_batch`` checks that it keeps the contract."""

from bubu_sdk.testing.cluster import InMemoryCluster
from bubu_sdk.testing.conformance import ConformanceError, check_batch
from bubu_sdk.testing.environment import EngramEnvironment, EngramOutcome
from bubu_sdk.testing.store import InMemoryStore

__all__ = [
    "ConformanceError",
    "EngramEnvironment",
    "EngramOutcome",
    "InMemoryCluster",
    "InMemoryStore",
    "check_batch",
]
