"""Evaluates the shipped alerts with promtool, and a real Prometheus with a real operator."""
