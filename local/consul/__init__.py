"""Consul on this machine: a stand-in with real blocking queries, or a real agent where one is installed."""
