"""The controllers of the cluster: Jobs, Deployments, StatefulSets, garbage, namespaces, periodic housekeeping.

They run in the server's process on its registry. ``running.run_controllers`` is the only entry point.
"""
