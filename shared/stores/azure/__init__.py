"""States, marks, the control entity, leases and claim checks in one Azure Storage account."""
