"""Caches with a bound on the memory of what they hold."""
