"""Measures the operator on a real control plane (kube-apiserver, etcd, Job controller), and the control plane without
it.

The node reports each Pod as succeeded at once, so that only the control plane and the operator are measured.
"""
