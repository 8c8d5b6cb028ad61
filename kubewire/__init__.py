"""What API servers and their clients agree upon. The operator and the embedded cluster share it; it imports neither."""
