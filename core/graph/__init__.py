"""The steps of a Story as a directed acyclic graph. Pure and synchronous: names and phases in, names out.

Read ``needs`` (edges), ``cycles``, ``readiness`` (what may start, what must be skipped), ``reach`` (closures).
"""
