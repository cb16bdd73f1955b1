"""Buses with an outside broker in front of the platform's own store; starts at ``bus``."""
