"""What the system is: its vocabulary, its expressions and its engine. No HTTP server, no reconciler."""
