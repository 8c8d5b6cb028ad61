"""What the webhooks are given: random objects, valid and odd.

``stories`` makes Stories of either version, from well-formed ones to JSON that only looks like one.
"""
