"""The Dapr runtime that apps talk to, whatever the transport: HTTP and gRPC are thin layers over it."""
