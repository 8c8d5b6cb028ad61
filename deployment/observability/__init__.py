"""Alerts and scrape configuration, rendered into ``manifests/observability`` and docs; the dashboards beside them."""
