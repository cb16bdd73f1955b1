"""Dapr's gRPC API: a thin layer over the runtime. Nothing of grpc is imported until the first client connects."""
