"""What we tell about ourselves: metrics, logs and the span that feeds both."""
