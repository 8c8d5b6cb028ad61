"""What an installation in a cluster consists of, as documents. Pure, but for ``generate``, which writes them.

``workload`` and ``network`` (the Deployment and what surrounds it), ``configuration`` (the operator's ConfigMap),
``registration`` (who asks the gate, and when not; its conditions in ``condition``), ``policy`` (the rules that hold
without the gate, from the tables ``identity``, ``rights``, ``crossing``, ``cap`` and ``statuswriter``), ``certmanager``
(the overlay), ``kustomization`` and ``files`` (how they lie on disk).
"""
