"""The bus whose front is a Redis server; starts at ``front``."""
