"""The contract's scenarios, each written once, for the model, the embedded cluster and a real API server."""
