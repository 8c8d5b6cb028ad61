"""The life of a run. Read in this order:

``ports`` (all the engine knows of the world), ``errors``, ``supervisor`` (which runs are alive), ``scope`` (one nursery
per StoryRun), ``execution`` (what a run does from start to end), ``preparation`` (before its steps), ``execution`` (one
list of steps at work), ``step`` (one step), ``primitives`` (what a step can be, a module each), ``outcome`` (what a
look at an engram step means), ``state`` and ``status`` (what is true and how it is stored), ``wind_down`` and
``cancel`` (ending early), ``cleanup`` (compensations and finally), ``redrive`` (running again).

They share what decides, pure: ``plan`` and ``plans``, ``inputs``, ``output``, ``manifest``, ``record``, ``attempt``,
``holdups``, ``step_state``, ``timers``, ``recall``, ``redrive_request``, ``scheduling``, ``turns`` with ``line``, and
``queueing`` with ``candidates`` and ``places``; and what is shared at work: ``work``, ``context``, ``variables``,
``access``, ``slots``, ``turn_taking``, ``waiting``, ``clock``, ``wakeup``, ``news`` and ``calls``.
"""
