"""The permissions of the operator: one table, and the RBAC objects and the page that are rendered from it.

``table`` (the rows), ``names`` and ``roles`` (the operator's own objects), ``people`` (roles for humans), ``files``
(the files that ``deployment.generate`` writes), ``page`` (``docs/permissions.md``), ``rendered`` and ``install`` (how
the embedded cluster gets them).
"""
