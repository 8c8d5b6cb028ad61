"""Storage references of large payloads: hydrate, dehydrate, cache. The SDK has its own; the operator passes them on."""
