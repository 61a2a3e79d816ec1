"""SQL Server and Azure SQL change data capture: one stream per captured table, read from its change tables."""

from shared.sources.sqlserver.driver import find_driver as check_machine
from shared.sources.sqlserver.origin import properties as origin
from shared.sources.sqlserver.source import open_source

__all__ = ["check_machine", "open_source", "origin"]
