"""``bobrapet dump``: everything about one run in one archive, without secrets.

``secret_text``, ``shape`` and ``redaction`` decide what leaves the cluster (pure), ``contents`` is what was collected,
``objects``, ``logs`` and ``answers`` collect, ``archive`` writes the file.
"""
