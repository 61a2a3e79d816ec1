"""One file or folder per kind of sink."""
