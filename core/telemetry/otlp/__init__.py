"""Spans leave the process by OTLP. Only a process that exports imports anything but ``otlp_settings``."""
