"""``python -m bobrapet``: the ``bobrapet`` command without its console script."""

from bobrapet.launch import main

main()
