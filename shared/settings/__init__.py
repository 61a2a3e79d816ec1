"""Configuration: what `sluice.hcl` and the app settings say, checked as a whole."""
