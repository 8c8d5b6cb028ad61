"""Running a run again, all of it or from a step on. Source: StoryRun contract 18.

``request`` reads what a person asked for; ``redrive`` answers it. Not here: the run that then goes on
(``core.engine.run``).
"""
