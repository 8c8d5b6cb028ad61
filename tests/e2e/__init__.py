"""What only a real control plane can show, how one is run, and how suites are run side by side."""
