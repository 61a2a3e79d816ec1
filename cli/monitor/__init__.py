"""`sluice monitor`: watch a source from a terminal; nothing is deployed, and nothing is stored."""
