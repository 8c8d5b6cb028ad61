"""The hub: the process that moves messages between the steps of realtime Stories.

``token`` and ``admission`` decide who a client is, ``routes`` where its packets go, ``delivery`` what is sent when, and
``pressure`` which producers wait: pure functions and state machines, without time or I/O. ``listener``, ``session``,
``registry`` and ``run`` connect them to sockets. Source: streaming contract 9 to 13.
"""
