"""What is allowed in: admission and conversion, and the HTTPS server that answers."""
