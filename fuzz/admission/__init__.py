"""Random objects for the webhooks: valid, invalid and odd ones.

``stories`` makes Stories of both versions, from well-formed ones to JSON that only looks like a Story. ``seeds`` has
valid reviews, which tests then damage; ``asking`` sends them, or any bytes, to admission.

``strategies`` makes valid objects of all kinds, each together with the objects around it (a ``cases.Case``).
``mutations`` puts one mistake into such a case. The modules whose names begin with these words have their parts.
"""
