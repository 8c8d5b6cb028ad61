"""A warm worker: a process that has imported the program, and runs the steps that the operator assigns to its Pod.

    watch ─► ledger ─► isolation (a forked process, or a thread of the host) ─► report

``serving`` puts it together. Nothing here is imported by a container that runs one step.
"""
