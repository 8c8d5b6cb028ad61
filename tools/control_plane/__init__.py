"""A real control plane on loopback, for tests and measurements: etcd, API servers, controllers, and our node.

``binaries`` finds or builds the programs; ``running`` starts and steers them; ``node`` runs Pods' containers as local
processes; ``session`` keeps one for a whole test session. ``python -m tools.control_plane`` does the same by hand.
"""
