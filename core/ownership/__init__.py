"""Which objects a process may work for, and for which object a task works."""
