"""The engine on in-memory ports under a virtual clock.

``cluster`` (an API server with a write history), ``worker`` (plays Jobs, Pods and SDKs), ``adapters`` (the ports on it,
with faults and deaths), ``evaluator``, ``world`` (all wired together, plus process starts and kills), ``cases`` (one
Story with everything that happens to it, and its end), ``strategies`` (random cases), ``invariants`` (what must hold of
a history), then the tests.
"""
