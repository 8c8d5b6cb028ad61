"""The engine on in-memory ports under a virtual clock.

``cluster`` (an API server with a write history), ``worker`` (plays Jobs, Pods and SDKs), ``adapters`` (the engine's ports
on it, with faults and deaths), ``evaluator``, ``world`` (all of it wired together, plus process starts and kills),
``strategies`` (random Stories and outcomes), ``invariants`` (what must hold of a history), then the tests.
"""
