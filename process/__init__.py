"""What a long-lived process of ours, operator or embedded cluster, does about itself: its memory, its parent."""
