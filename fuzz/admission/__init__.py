"""What the webhooks are given: random objects, right, wrong and odd.

``stories`` makes Stories of either version, from well-formed ones to JSON that only looks like one. ``seeds`` are
reviews that are right, to be spoilt; ``asking`` puts them, or anything, to the gate.

``strategies`` makes objects of all kinds that are right, each with the world in which it is (a ``cases.Case``), and
``mutations`` puts one mistake into such a case; the modules that begin with these words hold their parts.
"""
