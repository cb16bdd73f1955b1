"""The bus whose front is an MQTT broker; starts at ``bus``."""
