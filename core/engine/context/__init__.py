"""What the steps of one run share while they are at work, and how their starts and ends are recorded.

``run_context`` holds what they share, ``step_context`` is one step's place in it. ``step_start`` and ``step_end``
record, and nothing else does; ``run_slots`` waits for slots. ``progress`` knows who still works, ``watchers`` who waits
for a change, ``access`` ensures what containers need. Not here: the world that all runs share
(``core.engine.engine_context``).
"""
