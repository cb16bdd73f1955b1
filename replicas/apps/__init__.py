"""Clients of the app's side of Dapr's protocol, over HTTP and gRPC; they decide nothing."""
