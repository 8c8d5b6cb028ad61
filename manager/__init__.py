"""The composition root: start-up and shutdown, health, metrics endpoint, leader lease."""
