"""The life of a run. Read in this order:

``ports`` (all the engine knows of the world) and ``errors`` (what these may answer); ``plan`` (what a Story asks for);
``run`` (one StoryRun, from the moment it is seen to its stored end: one nursery each); ``primitives`` (what each kind
of step does); ``context`` (what the steps of a run share); ``status`` (what is true of a run, and the one writer of
it); ``step`` (what is recorded of a step). Beside them ``slots`` (how many steps are at work), ``concurrency`` (which
run of a Story may begin), ``redrive`` (running again) and ``values`` (what expressions see).

They share ``engine_context`` (the world), ``settings``, ``clock`` (instants as Trio deadlines), ``wakeup`` (a call that
is never lost) and ``calls`` (how a port is called).
"""
