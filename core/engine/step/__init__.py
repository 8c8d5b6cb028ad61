"""One step: what it is in the status, how its attempts are decided, how it ends.

``life`` is the way of a step from its ``if`` to its verdict; ``state`` an entry of ``stepStates``; ``outcome`` decides
what to do about an engram step, pure; ``record`` writes the status of its StepRun. Not here: what each kind of step
does (``core.engine.primitives``), and which step is next (``core.engine.run``).
"""
