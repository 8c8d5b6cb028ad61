"""``python -m manager.cli``: the command without its console script."""

from manager.cli.main import main

main()
