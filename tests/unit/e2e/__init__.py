"""Tests of the programs with which ``tests/e2e`` runs tests."""
