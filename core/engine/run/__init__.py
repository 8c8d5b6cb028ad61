"""One run, from the first event of its StoryRun to its stored end.

In this order: ``supervisor`` (one scope for each run), ``scope`` (one nursery), ``execution`` (the way of a run to its
end), ``preparation``, ``group_execution`` (steps whose needs are met), ``step_runner`` (one step, and its outcome),
``early_end`` and ``termination`` (an end before all steps have ended), ``cleanup``, ``output``. ``restore`` reads what
a restarted engine needs. Not here: what the steps share while they run (``core.engine.context``), and what each of them
does (``core.engine.primitives``).
"""
