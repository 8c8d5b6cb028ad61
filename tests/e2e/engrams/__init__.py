"""Programs of Engrams, which containers run as scripts."""
