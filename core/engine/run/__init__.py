"""One run, from the StoryRun that is seen to the end that is stored.

In this order: ``supervisor`` (one scope for each run), ``scope`` (one nursery), ``execution`` (its way to the end),
``preparation``, ``group_execution`` (steps whose needs are met), ``endings`` and ``termination`` (before its time),
``cleanup``, ``output``. ``state`` is what is true, ``status`` the one writer of it, ``restore`` what a restart finds
again. Not here: one step (``core.engine.step``).
"""
