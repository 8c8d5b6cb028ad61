"""The engine on in-memory ports under a virtual clock.

``cluster`` (an API server that records its writes), ``worker`` (plays Jobs, Pods and SDKs), ``adapters`` (the engine's
ports on the cluster, with faults and deaths), ``evaluator``, ``world`` (connects all parts, starts and kills
processes), ``cases`` (one Story with everything that happens to it, and its end), ``strategies`` (random cases),
``invariants`` (what must hold for a history), then the tests.
"""
