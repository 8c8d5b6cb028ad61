"""The documents of an installation in a cluster. Pure, except for ``generate``, which writes them.

``workload`` and ``network`` (the Deployment and the objects around it), ``configuration`` (the operator's ConfigMap),
``registration`` (which requests go to the admission server; its conditions in ``condition``), ``policy`` (the rules
that hold without the admission server, from the tables ``identity``, ``rights``, ``crossing``, ``cap`` and
``statuswriter``), ``certmanager`` (the overlay), ``kustomization`` and ``files`` (the files on disk).
"""
