"""The HTTP front door: routes requests to functions, holds them while a function starts, queues asynchronous ones."""
