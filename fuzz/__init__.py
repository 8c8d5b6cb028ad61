"""The property suite: models, strategies and pinned cases. Run it with ``make fuzz``."""
