"""Compare-and-swap without a compiler.

`cas32(address, expected, desired)` and `cas64` store *desired* if the aligned word at *address*
is *expected*, in one step that no other process can come between, and return whether it was.

libatomic has them, called through ctypes. Where that library is missing, a few bytes of
machine code do the same: written to a file without a name, then mapped to be read and
executed, so that no memory is ever writable and executable at once.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
from collections.abc import Callable

from ...errors import BackendError

Swap = Callable[[int, int, int], bool]

# cas(rdi = address, rsi = expected, rdx = desired)       and, on aarch64, x0, x1, x2
_CODE = {
    "x86_64": (
        # mov eax, esi; lock cmpxchg [rdi], edx; setz al; movzx eax, al; ret
        "89f0 f00fb117 0f94c0 0fb6c0 c3",
        # mov rax, rsi; lock cmpxchg [rdi], rdx; setz al; movzx eax, al; ret
        "4889f0 f0480fb117 0f94c0 0fb6c0 c3",
    ),
    "aarch64": (
        # 1: ldaxr w3, [x0]; cmp w3, w1; b.ne 2f; stlxr w4, w2, [x0]; cbnz w4, 1b;
        # mov w0, 1; ret; 2: clrex; mov w0, 0; ret
        "03fc5f88 7f00016b a1000054 02fc0488 84ffff35 20008052 c0035fd6 5f3f03d5 00008052 c0035fd6",
        # the same with x1, x2, x3
        "03fc5fc8 7f0001eb a1000054 02fc04c8 84ffff35 20008052 c0035fd6 5f3f03d5 00008052 c0035fd6",
    ),
}


def from_libatomic() -> tuple[Swap, Swap] | None:
    """Return both through libatomic, or None where it is missing."""
    try:
        library = ctypes.PyDLL("libatomic.so.1")
        return (
            _through_library(library.__atomic_compare_exchange_4, ctypes.c_uint32),
            _through_library(library.__atomic_compare_exchange_8, ctypes.c_uint64),
        )
    except (OSError, AttributeError):
        return None


def _through_library(
    function: ctypes._NamedFuncPointer, word: type[ctypes._SimpleCData[int]]
) -> Swap:
    sequential = 5  # __ATOMIC_SEQ_CST
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, word, ctypes.c_int, ctypes.c_int]
    function.restype = ctypes.c_bool

    def swap(address: int, expected: int, desired: int) -> bool:
        held = word(expected)  # the library writes here what it found
        return bool(function(address, ctypes.byref(held), desired, sequential, sequential))

    return swap


def from_machine_code() -> tuple[Swap, Swap] | None:
    """Return both as machine code, or None where we have none or may not execute it."""
    code = _CODE.get(platform.machine())
    if code is None or not hasattr(os, "memfd_create"):
        return None
    try:
        address = _executable(b"".join(bytes.fromhex(half).ljust(64, b"\0") for half in code))
    except OSError:
        return None
    return (
        ctypes.PYFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)(
            address
        ),
        ctypes.PYFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)(
            address + 64
        ),
    )


def _executable(code: bytes) -> int:
    """Return the address of *code*, mapped for reading and executing until the process ends."""
    fd = os.memfd_create("zeroipc-swap", os.MFD_CLOEXEC)
    try:
        os.write(fd, code.ljust(mmap.PAGESIZE, b"\0"))
        call = ctypes.CDLL(None, use_errno=True).mmap
        call.restype = ctypes.c_void_p
        call.argtypes = [
            *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
            *(ctypes.c_int, ctypes.c_int, ctypes.c_long),
        ]
        address = call(None, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_SHARED, fd, 0)
        if address in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "executable memory is refused")
        return int(address)
    finally:
        os.close(fd)


def _find() -> tuple[Swap, Swap]:
    found = from_libatomic() or from_machine_code()
    if found is None:
        raise BackendError(
            f"named structures in pure Python need compare-and-swap, and this {platform.machine()} "
            "has no libatomic.so.1: install libatomic1, or gcc and reinstall zeroipc"
        )
    return found


cas32, cas64 = _find()
