"""The composition root: command line, start-up and shutdown, health, metrics endpoint, leader lease."""
