"""Tenants, devices, credentials and destinations: a compacted topic, and the view of it every component holds in memory."""
