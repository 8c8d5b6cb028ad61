"""Metrics and logs of the process, and the span that feeds both."""
