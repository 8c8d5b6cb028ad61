"""Defaulters: pure functions from an object to the object as it is to be stored; a second time changes nothing."""
