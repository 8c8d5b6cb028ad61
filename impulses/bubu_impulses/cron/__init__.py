"""Starts a Story from schedules. ``python -m bubu_impulses.cron`` is the program of the container."""
