"""What a step can be: one module for each kind, a coroutine from a ``StepContext`` to a ``Verdict``. Only ``stop``
returns more, a ``StepEnd``; only ``parallel`` takes more, what runs its branches.

Each starts with *resume or start*: it may be called again after a crash at any await, and must reach the same end.
``life`` is the way of a step from its ``if`` to its end. ``settle`` waits until what an expression reads can no longer
change. For an Engram step: ``attempt`` is the input of its container, ``success`` checks its result.
"""
