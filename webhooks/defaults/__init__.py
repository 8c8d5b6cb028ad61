"""Defaulters: pure functions from an object to the object that is stored. They are idempotent."""
