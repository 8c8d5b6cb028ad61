"""The controllers, one module per kind, and the runtime that they share."""
