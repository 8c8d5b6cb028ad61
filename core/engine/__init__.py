"""The life of a run. Read in this order:

``ports`` (all the engine knows of the world) and ``errors`` (what these may answer); ``plan`` (what a Story asks for);
``run`` (one StoryRun, from the moment it is seen to its stored end: one nursery each); ``step`` (one step, whatever it
does); ``primitives`` (what each kind of step does). Beside them ``slots`` (how many steps are at work),
``concurrency`` (which run of a Story may begin), ``redrive`` (running again) and ``values`` (what expressions see).

They share ``context`` (the world, and one step's place in it), ``settings``, ``clock`` (instants as Trio deadlines),
``wakeup`` (a call that is never lost) and ``calls`` (how a port is called).
"""
