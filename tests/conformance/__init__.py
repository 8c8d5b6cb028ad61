"""Tests whose answers are the same on every API server: the model, the embedded one, the real one."""
