"""Pure builders of Kubernetes objects: what runs an engram step, byte for byte as the contract says.

``step_workload`` (everything a builder needs to know), ``payload`` and ``template_context`` (JSON for containers),
``environment``, ``secrets``, ``storage``, ``tls``, ``pod``, ``job``, ``runner`` (ServiceAccount, Role, RoleBinding).
"""
