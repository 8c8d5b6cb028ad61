"""Fair use of shared resources: tenants take turns."""
