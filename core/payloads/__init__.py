"""Data that steps have stored in object storage, as the operator reads it. The SDK writes it.

``hydrate`` replaces references by the stored data. It uses ``reference``, ``key``, and ``wrapper``, the
form of a stored object. ``store`` opens a store: ``file_store``, or a ``cloud_store`` as ``s3_store``, ``gcs_store`` or
``azure_store`` describe it. They work in ``threads``.
"""
