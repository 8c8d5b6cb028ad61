"""Measurements on a real control plane, beside what it does without us: kube-apiserver, etcd, Job controller.

The node reports every Pod succeeded at once, so that nothing but control is measured.
"""
