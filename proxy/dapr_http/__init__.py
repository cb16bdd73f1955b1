"""Dapr's HTTP API over the runtime: paths, headers, JSON bodies and status codes, and nothing else."""
