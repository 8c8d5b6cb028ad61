"""A server and a client of tests on the sans-IO wire (``bubu_wire``), over real sockets and Trio."""
