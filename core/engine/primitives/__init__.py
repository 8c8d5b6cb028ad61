"""What a step can be: one module per kind, each a coroutine from a ``StepContext`` to a ``Verdict``. Only ``stop``
comes to more, a ``StepEnd``; only ``parallel`` needs more, what carries out its branches.

Each begins with *resume-or-start*: it may be called again after a crash at any await and must reach the same end.
``life`` is the way of a step from its ``if`` to its end. ``settle`` waits until what an expression reads can no
longer change. Of an engram step: ``attempt`` is what its container is started with, ``success`` checks its result.
"""
