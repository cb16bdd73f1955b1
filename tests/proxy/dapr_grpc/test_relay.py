"""What a client says before the server is there reaches it: uvloop reads on after pause_reading() in
connection_made()."""

from proxy.dapr_grpc.relay import Side, join


class Written:
    """A transport that keeps what is written."""

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data


def test_early_bytes_go_first():
    client, server = Side(lambda: None), Side(lambda: None)
    client.connection_made(Written())
    server.connection_made(Written())

    client.data_received(b"pre")
    client.data_received(b"face")
    join(client, server)
    client.data_received(b" and more")
    server.data_received(b"answer")

    assert server.transport.data == b"preface and more"
    assert client.transport.data == b"answer"
