"""``spec.concurrency``: which run of a Story may start. Source: StoryRun contract 13.

Runs wait at ``limiter``; ``rules`` decides over all runs of the Story; ``wait_line`` keeps the order after one look at
all of them. Not here: how many steps run at a time (``core.engine.slots``).
"""
