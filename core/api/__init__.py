"""What exists: the kinds, names, keys, phases and values of the public contract. Pure data, no I/O.

Read ``resource`` (what a kind is), ``keys`` and ``phases`` (the vocabulary), ``identity`` (names and hashes); these are
all a running manager needs. Then, for the borders: ``schema`` (how models are written), one module per kind, ``kinds``
(all of them), ``manifest`` (check a document), ``crd`` (render CustomResourceDefinitions).
"""
