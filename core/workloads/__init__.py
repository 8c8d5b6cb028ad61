"""Pure builders of Kubernetes objects: what runs an engram step, byte for byte as the contract says.

``step_workload`` (everything a builder needs to know), ``environment``, ``secrets``, ``storage``, ``pod``, ``job``,
``runner`` (ServiceAccount, Role, RoleBinding).
"""
