"""Consul: one stream per datacenter's catalog and per selected service, observed by blocking queries."""
