"""Running a run again, all of it or from one step on. Source: StoryRun contract 18.

``request`` reads what a person has asked for; ``redrive`` answers it. Not here: how the run then continues
(``core.engine.run``).
"""
