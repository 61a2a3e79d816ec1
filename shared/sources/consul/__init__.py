"""Consul: one stream per datacenter's catalog and per selected service, observed by blocking queries."""

from shared.sources.consul.observer import open_observer
from shared.sources.consul.origin import properties as origin

__all__ = ["check_machine", "open_observer", "origin"]


def check_machine() -> None:
    """Make sure that this machine has what the source needs: Python packages alone."""
