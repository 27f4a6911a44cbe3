"""iceoryx2: publish and subscribe in shared memory, an event beside it to sleep on.

It moves bytes, so items are pickled (protocol 5) into a loaned slice; an array arrives as a view of
the slice. One publisher, one subscriber, no overflow: the nearest it has to a queue.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import struct
from importlib import import_module
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from benchmarks.rivals.base import Get, Lend, Link, Put, Rival

iox2: Any = import_module("iceoryx2")
iox2.set_log_level(iox2.LogLevel.Error)
DEFAULT_DEPTH = 1000
BORROWED = 8  # samples the reader may hold at a time
SIZES = struct.Struct("=III")  # bytes of the pickle, of the padding after it, of the array
ALIGN = 64
_numbers = count()


class Iceoryx2(Rival):
    name = "iceoryx2"

    def queue(self, depth: int, nbytes: int, producers: int = 1, consumers: int = 1) -> Link | None:
        if producers > 1 or consumers > 1:  # every subscriber gets every sample
            return None
        name = f"zeroipc-bench-{os.getpid()}-{next(_numbers)}"
        return Iceoryx2Link(name, depth or DEFAULT_DEPTH, nbytes, {})


class Iceoryx2Link(NamedTuple):
    name: str
    depth: int
    nbytes: int
    opened: dict[str, Any]  # this process's ports, and its filled loans by address

    def writer(self) -> Put:
        publisher, notifier = self._publisher()

        def put(item: Any) -> None:
            loan = self.opened.pop(_address(item), None)
            if loan is None:
                loan = publisher.loan_slice_uninit(_nbytes(item))
                _fill(loan.payload_ptr, item)
            loan.assume_init().send()
            notifier.notify()

        return put

    def reader(self) -> Get:
        service, event = self._open()
        subscriber = service.subscriber_builder().create()
        listener = event.listener_builder().create()
        tick = iox2.Duration.from_millis(100)

        def get() -> Any:
            sample = subscriber.receive()
            while sample is None:
                listener.timed_wait(tick)
                sample = subscriber.receive()
            return _read(sample)

        return get

    def lender(self) -> Lend | None:
        return self._lend

    def _lend(self, length: int, dtype: str) -> np.ndarray[Any, Any]:
        publisher, _ = self._publisher()
        template = np.empty(length, dtype)
        loan = publisher.loan_slice_uninit(_nbytes(template))
        view = _fill(loan.payload_ptr, template)
        assert view is not None
        self.opened[_address(view)] = loan
        return view

    def _publisher(self) -> tuple[Any, Any]:
        if "publisher" not in self.opened:
            service, event = self._open()
            publisher = (
                service.publisher_builder()
                .initial_max_slice_len(self.nbytes + 1024)
                .allocation_strategy(iox2.AllocationStrategy.PowerOfTwo)
                .backpressure_strategy(iox2.BackpressureStrategy.RetryUntilDelivered)
                .max_loaned_samples(BORROWED)
                .create()
            )
            self.opened["publisher"] = publisher, event.notifier_builder().create()
        ports: tuple[Any, Any] = self.opened["publisher"]
        return ports

    def _open(self) -> tuple[Any, Any]:
        node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
        name = iox2.ServiceName.new(self.name)
        service = (
            node.service_builder(name)
            .publish_subscribe(iox2.Slice[ctypes.c_uint8])
            .enable_safe_overflow(False)
            .subscriber_max_buffer_size(self.depth)
            .subscriber_max_borrowed_samples(BORROWED)
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
        )
        return service, node.service_builder(name).event().open_or_create()


def _address(item: Any) -> str:
    return str(item.ctypes.data) if isinstance(item, np.ndarray) else ""


def _nbytes(item: Any) -> int:
    if isinstance(item, np.ndarray):
        return SIZES.size + 256 + ALIGN + item.nbytes
    return SIZES.size + len(pickle.dumps(item))


def _fill(address: int, item: Any) -> np.ndarray[Any, Any] | None:
    """Write sizes, pickle and array to *address*; give the array that now lives there."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(item, protocol=5, buffer_callback=buffers.append)
    pad = -(address + SIZES.size + len(head)) % ALIGN if buffers else 0
    start = SIZES.pack(len(head), pad, item.nbytes if buffers else 0) + head
    ctypes.memmove(address, start, len(start))
    if not buffers:
        return None
    room = (ctypes.c_uint8 * item.nbytes).from_address(address + len(start) + pad)
    inside = np.frombuffer(room, item.dtype).reshape(item.shape)
    np.copyto(inside, item)
    return inside


def _read(sample: Any) -> Any:
    payload = sample.payload()
    room = (ctypes.c_uint8 * payload.len()).from_address(payload.as_ptr())
    room.owner = sample  # the sample goes back when the last view of it dies
    view = memoryview(room)
    length, pad, nbytes = SIZES.unpack_from(view)
    end = SIZES.size + length
    return pickle.loads(view[SIZES.size : end], buffers=[view[end + pad : end + pad + nbytes]])


make = Iceoryx2
