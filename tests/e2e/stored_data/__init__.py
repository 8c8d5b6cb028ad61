"""Runs with large outputs, and their deletion, while programs are killed."""
