"""asyncio: a server that answers while processes compute.

    python examples/with_asyncio.py [--clients 20]

A client sends a number and gets its prime factors. `run_in_executor` takes our executor; a second
task reads what the workers report, from a queue, without a thread.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import Any

import zeroipc.mp as multiprocessing

HOST = "127.0.0.1"
reports: Any = None


def remember(queue: Any) -> None:
    """Keep the queue in a worker, as a global."""
    global reports
    reports = queue


def factors(number: int) -> list[int]:
    """Return the prime factors of *number*, and report them."""
    left, found, divisor = number, [], 2
    while divisor * divisor <= left:
        while left % divisor == 0:
            found.append(divisor)
            left //= divisor
        divisor += 1
    result = [*found, left] if left > 1 else found
    reports.put((os.getpid(), number, result))
    return result


async def ask(port: int, number: int) -> list[int]:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"{number}\n".encode())
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return [int(word) for word in answer.split()]


async def serve(clients: int) -> None:
    queue = multiprocessing.Queue()
    with multiprocessing.ProcessPoolExecutor(2, initializer=remember, initargs=(queue,)) as pool:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            number = int(await reader.readline())
            found = await asyncio.get_running_loop().run_in_executor(pool, factors, number)
            writer.write(" ".join(map(str, found)).encode() + b"\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        numbers = [10**12 + 39 * n + 1 for n in range(clients)]
        answers = await asyncio.gather(*(ask(port, number) for number in numbers))
        server.close()
        await server.wait_closed()
        told = {number: found for _, number, found in [await queue.aget() for _ in numbers]}
    right = [told[n] == a and multiply(a) == n for n, a in zip(numbers, answers, strict=True)]
    queue.close()
    print(f"{sum(right)} of {clients} answers are right")


def multiply(numbers: list[int]) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    asyncio.run(serve(parser.parse_args().clients))


if __name__ == "__main__":
    main()
