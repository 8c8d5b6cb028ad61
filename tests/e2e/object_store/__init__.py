"""A real S3 server for tests (Versity S3 Gateway), and a proxy in front of it that applies faults."""
