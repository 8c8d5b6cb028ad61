"""The ``bobrapet`` command. One module per verb group in ``commands``; ``render`` turns data into text.

Large modules are imported only when a verb needs them: ``--help`` and completion answer at once.
"""
