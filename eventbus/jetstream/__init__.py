"""The bus on NATS JetStream; starts at ``bus``."""
