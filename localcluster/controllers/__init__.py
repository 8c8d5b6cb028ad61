"""The controllers a cluster needs: Jobs, Deployments, ReplicaSets, garbage, namespaces, and chores by the clock.

They run in the server's process on its registry. ``running.run_controllers`` is the one entry.
"""
