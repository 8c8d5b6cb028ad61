"""Which process may work for which objects, and for which object a task is at work."""
