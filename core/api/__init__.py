"""What exists: the kinds, names, keys, phases and values of the public contract. Pure data, no I/O.

Read ``resource`` (what a kind is), ``keys`` and ``phases`` (the vocabulary), ``identity`` (names and hashes),
then one module per kind. ``crd`` renders the kinds as CustomResourceDefinition documents.
"""
