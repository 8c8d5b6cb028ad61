"""Starts a Story for each HTTP request. ``python -m bubu_impulses.webhook`` is the program of the container."""
