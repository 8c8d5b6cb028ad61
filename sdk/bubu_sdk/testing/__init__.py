"""Test engrams and impulses without a cluster.

``EngramEnvironment`` runs an engram, ``check_batch`` checks that it keeps the contract; ``ImpulseEnvironment`` runs an
impulse and decides its requests.
"""

from bubu_sdk.testing.cluster import InMemoryCluster
from bubu_sdk.testing.conformance import ConformanceError, check_batch
from bubu_sdk.testing.environment import EngramEnvironment, EngramOutcome
from bubu_sdk.testing.impulse_environment import ImpulseEnvironment, ImpulseOutcome, VirtualClock
from bubu_sdk.testing.impulse_operator import InMemoryOperator, Rejection
from bubu_sdk.testing.store import InMemoryStore

__all__ = [
    "ConformanceError",
    "EngramEnvironment",
    "EngramOutcome",
    "ImpulseEnvironment",
    "ImpulseOutcome",
    "InMemoryCluster",
    "InMemoryOperator",
    "InMemoryStore",
    "Rejection",
    "VirtualClock",
    "check_batch",
]
