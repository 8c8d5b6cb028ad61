"""The wire of realtime streams: gRPC over HTTP/2 and the messages of ``transport.v1``, without I/O.

Bytes go in and events come out. Nothing here opens a socket, waits, reads a clock or imports an event loop, so that a
server on Trio and a client on any loop share it. ``server`` and ``client`` are the two ends of a connection,
``messages`` are the messages, ``forwarding`` changes encoded packets without decoding them. Needs ``h2``
(``bubu-sdk[streaming]``).
"""
