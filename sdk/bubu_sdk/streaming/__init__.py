"""Streaming Engrams: a function becomes a long-running step of a realtime Story.

Three layers. The pure ones know neither sockets nor threads: ``messages`` and ``wire_form`` (packets and their bytes),
``chunks``, ``inbox`` and ``outbox`` (what is received and not yet done, what is sent and not yet accepted), ``session``
(one connection) and ``client`` (all connections of a process). ``exchange`` is between the thread of the SDK and the
function of the user. ``sockets`` and ``run`` have the effects. Only what needs ``h2`` imports it, when it runs.
Source: Streaming contract 9, 11.
"""
