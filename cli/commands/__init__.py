"""One module per verb group; each registers its verbs on the app in ``cli.app``."""
