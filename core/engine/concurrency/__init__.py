"""``spec.concurrency``: which run of a Story may begin. Source: StoryRun contract 13.

``limiter`` is what runs wait at; ``rules`` decides over all runs of the Story; ``wait_line`` keeps the order after one
look at all of them. Not here: how many steps are at work (``core.engine.slots``).
"""
