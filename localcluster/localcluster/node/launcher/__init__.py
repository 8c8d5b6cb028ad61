"""A small process that starts container processes, so that starting one costs a fork and not a Python interpreter.

Read in this order: ``order`` (what to start), ``syscalls`` and ``view`` (what a container sees of the file system),
``zygote`` (the process itself). The node's side of the socket is ``localcluster.node.processes``.
"""
