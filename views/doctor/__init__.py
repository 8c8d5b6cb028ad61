"""What ``bobrapet doctor`` says: ``diagnosis`` has the record of one answer. Pure."""
