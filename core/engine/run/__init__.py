"""One run, from the StoryRun that is seen to the end that is stored.

In this order: ``supervisor`` (one scope for each run), ``scope`` (one nursery), ``execution`` (its way to the end),
``preparation``, ``group_execution`` (steps whose needs are met), ``step_runner`` (one step, and its outcome),
``early_end`` and ``termination`` (before its time), ``cleanup``, ``output``. ``restore`` is what a restart finds again.
Not here: what its steps share while they are at work (``core.engine.context``), and what each of them does
(``core.engine.primitives``).
"""
