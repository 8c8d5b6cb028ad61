"""Pure builders of the Kubernetes objects that run an engram step, byte for byte as in the contract.

``step_workload`` (the input of every builder), ``payload`` and ``template_context`` (JSON for containers),
``environment``, ``secrets``, ``storage``, ``tls``, ``pod``, ``job``, ``runner`` (ServiceAccount, Role, RoleBinding).
"""
