"""Azurite, the storage emulator, behind a small proxy that can pause, delay or refuse a named request."""
