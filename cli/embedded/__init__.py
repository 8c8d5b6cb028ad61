"""The embedded cluster for the command line: its data folder, its state, its start and its stop.

One folder is one cluster. ``folder`` describes the files in it, ``filelock`` locks it, ``process`` starts and stops the
serving process, ``usage`` shares a cluster that was started on demand between the commands that use it.
"""
