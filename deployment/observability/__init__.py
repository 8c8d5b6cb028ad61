"""Dashboards, alerts and scrape configuration: tables here, rendered into ``manifests/observability`` and docs."""
