"""The traces of runs: spans made from what is recorded, and when they are exported."""
