"""What each part of a run may cost in requests to the API server: limits, scenarios, and how they are counted."""
