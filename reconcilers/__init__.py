"""What keeps the cluster true: one module per kind, plus the controller runtime they share."""
