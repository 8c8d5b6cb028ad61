"""Tests that need a real control plane, the programs that run one, and the runner of suites side by side."""
