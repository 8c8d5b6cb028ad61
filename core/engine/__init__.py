"""The life of a run. Read in this order:

``ports`` (all the engine knows of the world), ``supervisor`` (which runs are alive), ``scope`` (one nursery per
StoryRun), ``state`` (what a run knows of itself), ``status`` (the one writer), ``step`` (a step's life), then
``primitives``.
"""
