"""The controllers of the cluster: Jobs, Deployments, ReplicaSets, garbage, namespaces, and periodic housekeeping.

They run in the server's process on its registry. ``running.run_controllers`` is the only entry point.
"""
