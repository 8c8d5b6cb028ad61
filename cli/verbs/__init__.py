"""A verb of the command a module: its arguments, and its work. The table of them is in ``cli.app``."""
