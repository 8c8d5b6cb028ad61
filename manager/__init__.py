"""The composition root of the operator: start, shutdown, health, metrics endpoint, leader lease."""
