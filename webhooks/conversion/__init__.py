"""Conversion of Stories between their API versions.

``settings`` lists what the typed field of a primitive can hold; ``step`` converts one step; ``kept`` stores what the
other version cannot express; ``story`` puts them together; ``review`` answers the API server.
"""
