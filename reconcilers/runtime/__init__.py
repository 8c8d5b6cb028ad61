"""Shared by all controllers: a keyed work queue, its workers, and routes from events to keys."""
