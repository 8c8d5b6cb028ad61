"""Webhook deliveries on a real control plane while everything is killed: each starts its run, and starts it once.

``sender`` is a client that sends each delivery until it is accepted, as a program of its own. ``stand`` has the control
plane, the operator, a node, and the webhook Impulse that the operator runs on it. ``killing`` ends programs with
``kill -9``. ``ledger`` follows what is stored. ``campaign`` plays it all, and ``verdict`` says what is wrong then.
"""
