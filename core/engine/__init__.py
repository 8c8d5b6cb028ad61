"""The life of a run. Read in this order:

``ports`` (all the engine knows of the world), ``errors``, ``supervisor`` (which runs are alive), ``scope`` (one nursery
per StoryRun), ``pursuit`` (what a run does from start to end), ``execution`` (its steps at work), ``step`` (one step),
``primitives`` (what a step can be), ``outcome`` (what a look at a step means), ``state`` and ``status`` (what is true
and how it is stored), ``cancel`` (ending early). They share ``plan``, ``inputs``, ``output``, ``manifest``, ``record``,
``attempt`` and ``variables``, which decide, and ``clock``, ``bell``, ``news`` and ``calls``, which wait.
"""
