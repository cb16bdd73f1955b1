"""The zygote: a single-threaded blocking process with the framework imported, which forks replicas on request.

    python -m functions_framework.zygote --socket PATH [--preload MODULE ...]

It polls its listening socket, its connections and a wakeup descriptor for SIGCHLD; no asyncio loop, no threads, no TLS,
no secrets. Protocol: zygote_wire. SIGTERM is passed on to every child; the zygote ends when all have.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path

import msgspec

from functions_framework import kernel
from functions_framework.preload import preload, warm
from functions_framework.zygote_wire import (
    Alive,
    Children,
    Exited,
    Failed,
    Fork,
    Reply,
    Request,
    Signal,
    Spawn,
    Started,
)

MAX_REQUEST = 8 << 20
MAX_DESCRIPTORS = 16

_decoder = msgspec.json.Decoder(Request)
_encoder = msgspec.json.Encoder()


class Connection:
    """One starter: bytes and descriptors that came, bytes that wait to go."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.received = bytearray()
        self.descriptors: list[int] = []
        self.waiting = bytearray()

    def take(self, count: int) -> list[int]:
        """Return the descriptors of the request at hand."""
        taken, self.descriptors = self.descriptors[:count], self.descriptors[count:]
        return taken

    def close(self) -> None:
        """Close it and whatever came with it."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()
        self.stream.close()


class Zygote:
    """The children, and who wants to hear of them."""

    def __init__(self, path: str) -> None:
        self._pid = os.getpid()
        self._children: dict[int, str] = {}
        self._programs: set[int] = set()
        """Children that became other programs: leaders of process groups that end with them."""
        self._connections: dict[int, Connection] = {}
        self._ending = False
        self._poll = select.poll()
        self._listener = _listen(path)
        self._wakeup, self._bell = socket.socketpair()
        for end in (self._wakeup, self._bell):
            end.setblocking(False)
        signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        for source in (self._listener, self._wakeup):
            self._poll.register(source, select.POLLIN)

    def run(self) -> None:
        """Serve until told to end and the last child has gone."""
        while not (self._ending and not self._children):
            for descriptor, happened in self._poll.poll():
                if descriptor == self._wakeup.fileno():
                    _drain(self._wakeup)
                elif descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._connections:
                    self._serve(self._connections[descriptor], happened)
            self._reap()

    def _end(self, *_: object) -> None:
        """Pass SIGTERM on; asked twice, do not wait."""
        number = signal.SIGKILL if self._ending else signal.SIGTERM
        self._ending = True
        for pid in self._children:
            self._kill(pid, number)

    def _accept(self) -> None:
        try:
            stream, _ = self._listener.accept()
        except OSError:
            return
        peer = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", peer)[1] != os.getuid():
            stream.close()
            return
        stream.setblocking(False)
        self._connections[stream.fileno()] = Connection(stream)
        self._poll.register(stream, select.POLLIN)

    def _drop(self, connection: Connection) -> None:
        self._poll.unregister(connection.stream)
        del self._connections[connection.stream.fileno()]
        connection.close()

    def _serve(self, connection: Connection, happened: int) -> None:
        try:
            if happened & select.POLLOUT:
                self._write(connection)
            if happened & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self._read(connection)
        except OSError:
            self._drop(connection)

    def _read(self, connection: Connection) -> None:
        data, descriptors, flags, _ = socket.recv_fds(connection.stream, 1 << 16, MAX_DESCRIPTORS)
        connection.descriptors += descriptors
        if not data or flags & socket.MSG_CTRUNC:
            raise ConnectionResetError
        connection.received += data
        if len(connection.received) > MAX_REQUEST:
            raise ConnectionResetError
        while b"\n" in connection.received:
            line, _, rest = connection.received.partition(b"\n")
            connection.received = rest
            self._request(connection, bytes(line))

    def _request(self, connection: Connection, line: bytes) -> None:
        try:
            request = _decoder.decode(line)
        except msgspec.DecodeError as error:
            self._send(connection, Failed(id="", error=f"bad request: {error}"))
            return
        match request:
            case Fork():
                self._start(connection, request, connection.take(3), 3)
            case Spawn():
                self._start(connection, request, connection.take(1), 1)
            case Signal(id=name, number=number):
                for pid in [pid for pid, known in self._children.items() if known == name]:
                    self._kill(pid, number)
            case Children():
                self._send(connection, Alive(children={name: pid for pid, name in self._children.items()}))

    def _start(self, connection: Connection, request: Fork | Spawn, descriptors: list[int], wanted: int) -> None:
        try:
            if self._ending:
                raise RuntimeError("the zygote is ending")
            if len(descriptors) != wanted:
                raise RuntimeError(f"{wanted} descriptors are needed, {len(descriptors)} came")
            if request.id in self._children.values():
                raise RuntimeError("a child of this id lives")
            pid = os.fork()
            if pid == 0:
                self._child(request, descriptors)
            self._children[pid] = request.id
            if isinstance(request, Fork) and request.command:
                self._programs.add(pid)
            self._send(connection, Started(id=request.id, pid=pid))
        except (OSError, RuntimeError) as error:
            self._send(connection, Failed(id=request.id, error=str(error)))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _child(self, request: Fork | Spawn, descriptors: list[int]) -> None:
        """In the child: never returns. The zygote's sockets are let go, so that no collection closes a number again."""
        for stream in (self._listener, self._wakeup, self._bell, *(c.stream for c in self._connections.values())):
            stream.detach()
        if isinstance(request, Spawn):
            _execute(request, descriptors[0], self._pid)
        from functions_framework.replica import become

        become(request, descriptors, self._pid)  # type: ignore[arg-type]  # a Fork: Spawn never comes here

    def _reap(self) -> None:
        while self._children:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            if found.si_pid in self._programs:
                self._kill(found.si_pid, signal.SIGKILL)  # while it is not reaped, its group is nobody else's
                self._programs.discard(found.si_pid)
            pid, status = os.waitpid(found.si_pid, 0)
            name = self._children.pop(pid, None)
            if name is not None:
                ended = Exited(id=name, pid=pid, code=os.waitstatus_to_exitcode(status))
                for connection in list(self._connections.values()):
                    self._send(connection, ended)

    def _kill(self, pid: int, number: int) -> None:
        try:
            if pid in self._programs:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)
        except ProcessLookupError:
            if pid in self._programs:  # it has no session of its own yet
                os.kill(pid, number)

    def _send(self, connection: Connection, reply: Reply) -> None:
        connection.waiting += _encoder.encode(reply) + b"\n"
        try:
            self._write(connection)
        except OSError:
            self._drop(connection)

    def _write(self, connection: Connection) -> None:
        try:
            sent = connection.stream.send(connection.waiting)
        except BlockingIOError:
            sent = 0
        del connection.waiting[:sent]
        if len(connection.waiting) > MAX_REQUEST:
            raise ConnectionResetError
        more = select.POLLOUT if connection.waiting else 0
        self._poll.modify(connection.stream, select.POLLIN | more)


def _listen(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def _execute(request: Spawn, log: int, parent: int) -> None:
    """Become another program; never returns."""
    try:
        kernel.die_with(parent)
        os.setsid()
        kernel.default_signals()
        kernel.place([os.open(os.devnull, os.O_RDONLY), log, log])
        os.execve(request.argv[0], request.argv, {**os.environ, **request.env})  # noqa: S606 - argv as given, no shell
    except OSError as error:
        os.write(2, f"{request.argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _drain(wakeup: socket.socket) -> None:
    try:
        while wakeup.recv(4096):
            pass
    except BlockingIOError:
        return


def main(argv: list[str] | None = None) -> int:
    """Run a zygote; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m functions_framework.zygote")
    parser.add_argument("--socket", required=True, help="path of the control socket")
    parser.add_argument("--preload", nargs="*", default=[], help="modules to import beside the framework")
    arguments = parser.parse_args(argv)
    refused = preload(arguments.preload)
    if refused:
        print(f"zygote: {refused}", file=sys.stderr)  # noqa: T201 - stderr is its log
        return 4
    warm()
    gc.collect()
    gc.freeze()
    Zygote(arguments.socket).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
