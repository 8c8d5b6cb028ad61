"""The life of a run. Read in this order:

``ports`` (all that the engine knows of the world) and ``errors`` (what a port may raise); ``plan`` (what a Story asks
for); ``run`` (one StoryRun, from the first event to its stored end: one nursery each); ``primitives`` (what each kind
of step does); ``context`` (what the steps of a run share); ``status`` (what is true of a run, and the one writer of its
status); ``step`` (what is recorded of a step). Beside them ``slots`` (how many steps run at a time), ``concurrency``
(which run of a Story may start), ``redrive`` (running a run again) and ``values`` (what expressions can read).

They share ``engine_context`` (the world), ``settings``, ``clock`` (instants as Trio deadlines), ``wakeup`` (a wake-up
that is never lost) and ``calls`` (how the engine calls a port).
"""
