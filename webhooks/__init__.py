"""Admission and conversion of objects, and the HTTPS server that answers reviews."""
