"""Watching: what Prometheus, Grafana, Loki and Alloy read. The dashboards are built by the code in `dashboards`."""
