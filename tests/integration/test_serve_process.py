"""The server as a true process: its start, its queue, clients that leave, and its end."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve_cases import ask, form, post, post_photo, read_reply, request, serving

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def photo(examples) -> bytes:
    return (examples / "himeji-castle.jpg").read_bytes()


def test_it_answers_before_the_model_is_loaded_and_locates_after(tiny_model, photo):
    with serving(tiny_model, "--workers", "1", ready=False) as (port, _):
        assert ask(port, request("GET", "/healthz")).json() == {"status": "ok"}
        early = ask(port, request("GET", "/readyz"))
        assert early.status in (200, 503)
        while ask(port, request("GET", "/readyz")).status != 200:
            time.sleep(0.05)
        reply = ask(port, post_photo(photo))
        assert reply.json()["results"][0]["place"]["country_code"] == "JP"


def test_too_many_are_turned_away_and_the_others_answered(tiny_model, photo):
    many = post(form(*[("photos", photo, "a.jpg")] * 8))
    with (
        serving(tiny_model, "--workers", "1", "--max-waiting", "2") as (port, _),
        ThreadPoolExecutor(12) as pool,
    ):
        replies = list(pool.map(lambda _: ask(port, many), range(12)))
        assert {reply.status for reply in replies} == {200, 429}
        for reply in replies:
            if reply.status == 429:
                assert reply.json()["error"]["code"] == "busy"
                assert int(reply.headers["retry-after"]) >= 1
            else:
                assert len(reply.json()["results"]) == 8
        assert ask(port, post_photo(photo)).status == 200


@POSIX
def test_what_is_under_way_is_answered_when_it_is_told_to_stop(tiny_model, photo):
    many = post(form(*[("photos", photo, "a.jpg")] * 4))
    with serving(tiny_model, "--workers", "1", "--max-waiting", "50") as (port, process):
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(ask, port, many) for _ in range(3)]
            time.sleep(0.3)  # so that they are under way
            idle = socket.create_connection(("127.0.0.1", port))
            process.send_signal(signal.SIGTERM)
            assert [one.result().status for one in asked] == [200, 200, 200]
        assert idle.recv(1) == b""
        idle.close()
        with pytest.raises(ConnectionError):
            ask(port, request("GET", "/healthz"))
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""


@POSIX
def test_a_client_that_leaves_takes_its_work_with_it(tiny_model, photo):
    many = post(form(*[("photos", photo, "a.jpg")] * 32))
    with serving(tiny_model, "--workers", "1", "--max-waiting", "40") as (port, _):
        for _ in range(4):  # 128 photos: more than may wait, unless they go when their clients do
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(many)
                time.sleep(0.3)
        deadline = time.monotonic() + 10
        while ask(port, post_photo(photo)).status == 429 and time.monotonic() < deadline:
            time.sleep(0.05)
        start = time.monotonic()
        assert ask(port, post_photo(photo)).status == 200
        assert time.monotonic() - start < 5


@POSIX
def test_a_worker_that_is_lost_is_replaced(tiny_model, photo):
    with serving(tiny_model, "--workers", "1") as (port, process):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("needs Linux's list of children")
        tasks = Path(f"/proc/{process.pid}/task").iterdir()
        pids = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        workers = [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(workers) == 1
        os.kill(workers[0], signal.SIGKILL)
        while (
            Path(f"/proc/{workers[0]}/stat").exists()
            and " Z " not in Path(f"/proc/{workers[0]}/stat").read_text()
        ):
            time.sleep(0.01)
        assert ask(port, post_photo(photo)).status == 200


def test_a_slow_client_does_not_keep_others_waiting(tiny_model, photo):
    with serving(tiny_model, "--workers", "1", "--upload-timeout", "3") as (port, _):
        whole = post_photo(photo)
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for connection in slow:
            connection.sendall(whole[:-100])
        assert ask(port, whole).status == 200
        for connection in slow:
            assert read_reply(connection).status == 408
            connection.close()


def test_requests_may_share_a_connection(tiny_model, photo):
    with serving(tiny_model, "--workers", "1") as (port, _):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            for raw in (
                post_photo(photo),
                post_photo(b"text"),
                request("GET", "/nothing"),
                post_photo(photo),
            ):
                connection.sendall(raw)
                reply = read_reply(connection)
            assert reply.status == 200


def test_a_port_that_is_taken_is_one_line(tiny_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--port", port, "--model", tiny_model)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: cannot listen on '127.0.0.1' port {port}")
    assert done.stderr.count("\n") == 1


def test_a_model_that_is_none_ends_it_with_its_code(tmp_path):
    done = run("--port", "0", "--model", tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def run(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "geotoken", "serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_without_its_libraries_it_says_what_to_install():
    script = (
        "import sys\n"
        "sys.modules['fastapi'] = None\n"  # an import of it fails
        "sys.argv = ['geotoken', 'serve']\n"
        "from geotoken.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: geotoken serve needs FastAPI")
    assert "pip install 'geotoken[serve]'" in done.stderr
