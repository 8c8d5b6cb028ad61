"""Arbitrary data in lists and watches: it stops no informer, and affects only the object that it belongs to."""
