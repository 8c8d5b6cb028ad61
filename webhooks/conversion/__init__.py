"""Stories between the versions they can be written in.

``settings`` says what the typed field of a primitive can hold; ``step`` converts one step; ``kept`` is the note of what
the other version cannot say; ``story`` puts them together; ``review`` answers the API server.
"""
