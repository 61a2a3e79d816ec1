"""A stand-in for SQL Server: the real ODBC driver connects to it; change data capture included."""
