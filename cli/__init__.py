"""The ``bobrapet`` command. One module per verb group in ``commands``; ``render`` turns data into text.

Nothing heavy is imported before a verb needs it: ``--help`` and completion answer at once.
"""
