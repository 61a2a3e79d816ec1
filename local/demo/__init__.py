"""The demo: a bounded workload on the local cloud, watched as it arrives and checked change by change."""
