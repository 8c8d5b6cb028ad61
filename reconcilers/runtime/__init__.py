"""What every controller shares: a keyed work queue, workers that drain it, and routes from events to keys."""
