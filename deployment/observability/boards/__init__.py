"""The dashboards, one module each; ``deployment.observability.board`` renders them."""
