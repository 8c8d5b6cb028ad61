"""What a step can be: one module per kind, each a coroutine from a ``StepContext`` to a ``Verdict``.

Each begins with *resume-or-start*: it may be called again after a crash at any await and must reach the same end.
"""
