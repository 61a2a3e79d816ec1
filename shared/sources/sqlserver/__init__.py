"""SQL Server and Azure SQL change data capture: one stream per captured table, read from its change tables."""
