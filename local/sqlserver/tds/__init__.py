"""TDS 7.4 as the server speaks it: packets, login, tokens, values."""
