"""The steps of a Story as a directed acyclic graph. Pure and synchronous: names and phases in, names out.

Read ``needs`` (edges), ``cycles``, ``readiness`` (steps that may start, and steps to skip), ``reach`` (closures).
"""
