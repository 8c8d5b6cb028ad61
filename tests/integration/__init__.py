"""Tests with the real parts together, on the embedded cluster or a real one, and the stands that tests share."""
