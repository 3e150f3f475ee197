"""Outbound delivery: events posted to the webhooks of their tenant, at least once, each destination on its own."""
