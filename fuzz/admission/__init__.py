"""What the webhooks are given: random objects, valid and odd.

``stories`` makes Stories of either version, from well-formed ones to JSON that only looks like one. ``seeds`` are
reviews that are right, to be spoilt; ``asking`` puts them, or anything, to the gate.
"""
