"""What a process of ours does about itself: how it loads its modules, its memory, its parent."""
