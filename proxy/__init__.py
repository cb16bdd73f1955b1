"""The shared Dapr proxy: owns subscriptions, delivers their events to replicas, serves the Dapr and operations APIs."""
