"""What steps have put into object storage, as the operator reads it. Writing is the SDK's.

``hydrate`` replaces references by what they name. Its vocabulary: ``reference``, ``subpath``, ``key``, and ``wrapper``,
the form of a stored object. ``store`` opens a store: ``file_store`` or ``s3_store``, which work in ``threads``.
"""
