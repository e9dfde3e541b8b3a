"""What does `geotoken serve` stand: latency and throughput under 32 clients, its memory, its end?

Starts the server as its user would, on a free port, and asks it from this one process over plain sockets
with bodies made beforehand, so that the clients cost little of the cores they share with it. A client that
gets 429 waits as long as Retry-After says, and up to half a second more. Throughput is compared with
`geotoken locate --out` on the same photos, measured in the same run, without the start of either. Linux
only. A figure in the docs comes from `benchmarks/results/serve.json`, written by `--out`.

    python benchmarks/serve.py examples --out benchmarks/results/serve.json
"""

import argparse
import asyncio
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batch import _resident_mb, _tree, measure_batch
from common import provenance, write_json
from geotoken.images.read import find_images

BOUNDARY = "a-boundary-that-is-in-no-photo"
NUM_WARM = 100
"""Requests, answered by all workers, after which memory is looked at for the first time."""


@dataclass
class Tally:
    """What clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="photos; few are repeated")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--num-unloaded", type=int, default=100, help="requests one after the other")
    parser.add_argument("--num-requests", type=int, default=2000, help="after which memory is looked at")
    parser.add_argument("--num-batch", type=int, default=800, help="photos located without a server")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="of geotoken serve; come last")
    parser.add_argument("--out", type=Path, help="write the JSON to this file")
    args = parser.parse_args()
    photos = find_images([args.folder])
    load_average = os.getloadavg()[0]
    batch = measure_batch(photos, args.num_batch, None, "mini") if args.num_batch else None
    found = asyncio.run(measure(photos, args))
    if batch is not None:
        steady = [one for one in batch["over_time"] if args.num_batch / 10 <= one["photos"] < args.num_batch]
        rows, seconds = (steady[-1][key] - steady[0][key] for key in ("photos", "seconds"))
        found["batch_photos_per_s"] = rows / seconds
        found["batch_photos_per_s_with_start"] = batch["photos_per_s"]
        found["batch_cpu_ms_per_photo"] = batch["cpu_ms_per_photo"]
        found["throughput_of_batch"] = found["loaded"]["answers_per_s"] / found["batch_photos_per_s"]
    print(write_json({**found, "load_average_before": load_average, **provenance()}, args.out), end="")


async def measure(photos: list[Path], args: argparse.Namespace) -> dict[str, Any]:
    """Start the server, ask it in every way, stop it."""
    requests = [request_bytes(photo.name, photo.read_bytes()) for photo in photos]
    start = time.perf_counter()
    command = [sys.executable, "-m", "geotoken", "serve", "--port", "0", *args.flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(re.findall(r":(\d+)/", process.stdout.readline())[0])
        while (await get(port, "/healthz"))[0] != 200:
            await asyncio.sleep(0.02)
        page_s = time.perf_counter() - start
        while (await get(port, "/readyz"))[0] != 200:
            await asyncio.sleep(0.02)
        ready_s = time.perf_counter() - start
        alone, busy_alone = Tally(), Busy(process.pid)
        await client(port, requests, alone, until=lambda: len(alone.seconds) >= args.num_unloaded)
        others_alone = busy_alone.others()
        warm = Tally()  # one after the other, most went to one worker
        await asyncio.gather(
            *(client(port, requests, warm, lambda: len(warm.seconds) >= NUM_WARM) for _ in range(4))
        )
        num_before = len(alone.seconds) + len(warm.seconds)
        memory = [memory_mb(process.pid)]
        tally = Tally()
        busy = Busy(process.pid)
        end = time.perf_counter() + args.seconds
        await asyncio.gather(
            *(
                client(
                    port, requests[i % len(requests) :] + requests, tally, lambda: time.perf_counter() > end
                )
                for i in range(args.clients)
            )
        )
        others = busy.others()
        memory.append(memory_mb(process.pid))
        rest = Tally()
        left = max(args.num_requests - len(tally.seconds) - num_before, 0)
        await asyncio.gather(
            *(client(port, requests, rest, lambda: len(rest.seconds) >= left) for _ in range(4))
        )
        memory.append(memory_mb(process.pid))
        unloaded_s = statistics.median(alone.seconds)
        p95_s = quantile(tally.seconds, 0.95)
        return {
            "seconds_to_page": page_s,
            "seconds_to_ready": ready_s,
            "unloaded": {
                "requests": len(alone.seconds),
                "p50_s": unloaded_s,
                "p95_s": quantile(alone.seconds, 0.95),
                "cpus_used_by_others": others_alone,
            },
            "loaded": {
                "clients": args.clients,
                "seconds": args.seconds,
                "statuses": {str(status): number for status, number in sorted(tally.statuses.items())},
                "errors": dict(tally.errors),
                "answers_per_s": tally.statuses[200] / args.seconds,
                "cpu_ms_per_answer": 1000 * busy.server_s / tally.statuses[200],
                "cpus_used": {
                    "server": busy.server_s / busy.seconds,
                    "clients": busy.clients_s / busy.seconds,
                    "others": others,
                },
                "p50_s": statistics.median(tally.seconds),
                "p95_s": p95_s,
                "p99_s": quantile(tally.seconds, 0.99),
            },
            "p95_of_unloaded_p50": p95_s / unloaded_s,
            "memory": {
                "num_requests": [
                    num_before,
                    num_before + len(tally.seconds),
                    num_before + len(tally.seconds) + len(rest.seconds),
                ],
                "mb": memory,
                "growth": memory[-1] / memory[0] - 1,
            },
            "drain": await drain(port, requests, process),
        }
    finally:
        process.kill()
        process.wait()


async def drain(port: int, requests: list[bytes], process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Stop the server while it has work: what was begun must be answered, what comes later refused."""
    tally, num_clients = Tally(), 4
    asked = asyncio.gather(
        *(client(port, requests[i:], tally, lambda: bool(tally.seconds)) for i in range(num_clients))
    )
    await asyncio.sleep(0.03)
    start = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    await asked
    refused = False
    try:
        await get(port, "/healthz")
    except OSError:
        refused = True
    exit_code = await asyncio.to_thread(process.wait)
    return {
        "in_flight": num_clients,
        "statuses": {str(status): number for status, number in tally.statuses.items()},
        "errors": dict(tally.errors),
        "new_refused": refused,
        "exit_code": exit_code,
        "seconds": time.perf_counter() - start,
    }


async def client(port: int, requests: list[bytes], tally: Tally, until: Any) -> None:
    """Ask again and again over one connection, until it is enough."""
    reader = writer = None
    number = 0
    try:
        while not until():
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert reader is not None
                start = time.perf_counter()
                writer.write(requests[number % len(requests)])
                status, head, _ = await read_reply(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                tally.errors[type(error).__name__] += 1
                writer = None
                await asyncio.sleep(0.1)
                continue
            number += 1
            tally.statuses[status] += 1
            if status == 200:
                tally.seconds.append(time.perf_counter() - start)
            elif status == 429:
                wait_s = int(re.findall(rb"(?i)retry-after: (\d+)", head)[0])
                await asyncio.sleep(wait_s + random.uniform(0, 0.5))
            if b"connection: close" in head.lower():
                writer.close()
                writer = None
    finally:
        if writer is not None:
            writer.close()


async def get(port: int, path: str) -> tuple[int, bytes, bytes]:
    """Ask for a page once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    try:
        return await read_reply(reader)
    finally:
        writer.close()


async def read_reply(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Status, head and body of a reply that has a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.findall(rb"(?i)content-length: (\d+)", head)
    body = await reader.readexactly(int(length[0])) if length else b""
    return int(head.split(b" ", 2)[1]), head, body


def request_bytes(name: str, content: bytes) -> bytes:
    """A whole request with one photo."""
    disposition = f'Content-Disposition: form-data; name="photos"; filename="{name}"'
    body = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
    body += content + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    head = f"POST /v1/locate HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def quantile(seconds: list[float], share: float) -> float:
    """The least time that a share of all times does not exceed."""
    return sorted(seconds)[min(int(share * len(seconds)), len(seconds) - 1)]


class Busy:
    """Who used the CPUs since this was made."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.start = self._look()
        self.server_s = self.clients_s = self.seconds = 0.0

    def others(self) -> float:
        """CPUs used by anything but the server and this process, and `server_s`, `clients_s`, `seconds`."""
        found = [now - before for now, before in zip(self._look(), self.start, strict=True)]
        self.seconds, all_s, self.server_s, self.clients_s = found
        return max(all_s - self.server_s - self.clients_s, 0.0) / self.seconds

    def _look(self) -> list[float]:
        user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split()[1:9])
        all_s = (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
        return [time.perf_counter(), all_s, cpu_s(self.pid), time.process_time()]


def cpu_s(pid: int) -> float:
    """CPU time of the server and its workers so far."""
    ticks = 0
    for one in _tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Resident memory of the server and its workers."""
    return sum(_resident_mb(one) for one in _tree(pid))


if __name__ == "__main__":
    main()
