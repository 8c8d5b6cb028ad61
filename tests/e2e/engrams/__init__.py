"""Programs of Engrams. Containers run them as scripts."""
