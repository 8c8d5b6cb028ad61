"""The alerts and recording rules, by what is affected; ``deployment.observability.rules`` renders them."""
