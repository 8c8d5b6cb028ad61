"""Data that steps have stored in object storage, as the operator reads it. The SDK writes it.

``hydrate`` replaces references by the stored data. It uses ``reference``, ``subpath``, ``key``, and ``wrapper``, the
form of a stored object. ``store`` opens a store: ``file_store`` or ``s3_store``, which work in ``threads``.
"""
