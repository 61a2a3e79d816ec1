"""Commands that this repository runs on itself."""
