"""Tasks of a long-lived process (operator or embedded cluster) about itself: its memory, its parent."""
