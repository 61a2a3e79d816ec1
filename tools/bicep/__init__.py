"""Checks of the Bicep templates in `infra/` that need neither Azure nor the compiler; run by `make check`."""
