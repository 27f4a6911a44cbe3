"""pyzmq: PUSH to PULL over a local socket, pickle protocol 5 with arrays as parts of their own."""

from __future__ import annotations

import os
import pickle
from importlib import import_module
from itertools import count
from typing import Any, NamedTuple

from benchmarks.rivals.base import Get, Lend, Link, Put, Rival

zmq: Any = import_module("zmq")
_numbers = count()


class PyZMQ(Rival):
    name = "pyzmq"

    def queue(self, depth: int, nbytes: int, producers: int = 1, consumers: int = 1) -> Link | None:
        if producers > 1:  # PUSH binds once; several would need a process in the middle
            return None
        # the abstract name space: no file is left behind
        return PyZMQLink(f"ipc://@zeroipc-bench-{os.getpid()}-{next(_numbers)}", depth)


class PyZMQLink(NamedTuple):
    address: str
    depth: int

    def writer(self) -> Put:
        socket = zmq.Context.instance().socket(zmq.PUSH)
        socket.setsockopt(zmq.SNDHWM, self.depth)
        socket.bind(self.address)

        def put(item: Any) -> None:
            buffers: list[pickle.PickleBuffer] = []
            head = pickle.dumps(item, protocol=5, buffer_callback=buffers.append)
            if buffers:
                socket.send_multipart([head, *buffers], copy=False)
            else:
                socket.send(head)

        return put

    def reader(self) -> Get:
        socket = zmq.Context.instance().socket(zmq.PULL)
        socket.setsockopt(zmq.RCVHWM, self.depth)
        socket.connect(self.address)

        def get() -> Any:
            head = socket.recv()
            buffers = []
            while socket.getsockopt(zmq.RCVMORE):
                buffers.append(socket.recv(copy=False).buffer)
            return pickle.loads(head, buffers=buffers)

        return get

    def lender(self) -> Lend | None:
        return None


make = PyZMQ
