"""The bus in one process's memory; starts at ``bus``."""
