"""The embedded cluster: a Kubernetes API server in one process, and a node that runs containers as processes."""
