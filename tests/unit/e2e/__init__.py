"""Tests of what ``tests/e2e`` runs tests with."""
