"""Impulses that start Stories: ``bubu_impulses.cron`` from schedules, ``bubu_impulses.webhook`` from HTTP requests."""
