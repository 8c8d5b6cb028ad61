"""The kinds, names, keys, phases and values of the public contract. Pure data, no I/O.

Read ``resource`` (a kind for an API server), ``keys`` and ``phases`` (the vocabulary), ``identity`` (names and hashes);
a running manager needs only these. For documents at the boundary, read ``schema`` (the base of models), one module per
kind, ``kinds`` (all of them), ``manifest`` (check a document), ``crd`` (render CustomResourceDefinitions).
"""
