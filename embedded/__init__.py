"""The embedded cluster as the command line sees it: where its data lives, whether it runs, how to start and stop it.

One folder is one cluster. ``folder`` says what stands in it, ``filelock`` who has it, ``process`` starts and stops what
serves it, ``usage`` shares a cluster that was started for the occasion between the commands that use it.
"""
