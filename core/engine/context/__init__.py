"""What the steps of one run share while they run, and how the engine records their starts and ends.

``run_context`` holds what they share; ``step_context`` is one step's part in it. ``step_start`` and ``step_end`` are
the only modules that record starts and ends; ``run_slots`` waits for slots. ``progress`` knows which steps still run,
``watchers`` which steps wait for a change; ``access`` ensures what containers need. Not here: what all runs share
(``core.engine.engine_context``).
"""
