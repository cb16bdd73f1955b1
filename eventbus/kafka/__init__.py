"""The bus on Apache Kafka; starts at ``bus``."""
