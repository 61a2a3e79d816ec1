"""Databases: catalog, transactions, change data capture."""
