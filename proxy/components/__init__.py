"""Dapr components: one file per type, declared once, opened by name."""
