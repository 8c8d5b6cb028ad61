"""The embedded default: a one-process Kubernetes API server and a node that runs containers as processes."""
