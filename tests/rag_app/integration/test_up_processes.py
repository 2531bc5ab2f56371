"""`up`'s processes, with real children: none is left behind, and what went wrong is said."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from rag_app.cli.client import Failure
from rag_app.cli.interrupts import Interrupted, Interrupts
from rag_app.cli.processes import Processes, Service
from rag_app.cli.stack import Plan
from rag_app.cli.up import run
from tests.support.live import free_port

ROOT = Path(__file__).parents[3]


@dataclass
class Toys:
    """Toy services in a folder: each is a module of its own name that tests.support.toy_service runs."""

    folder: Path
    services: tuple[Service, ...]
    environment: dict[str, str]

    def processes(self, interrupts: Interrupts | None = None, grace_s: float = 5.0) -> Processes:
        return Processes(self.services, self.environment, self.folder / "logs", interrupts or Interrupts(), grace_s)

    def behave(self, name: str, how: str) -> None:
        self.environment[f"TOY_{name.upper()}"] = how

    def plan(self) -> Plan:
        ports = [service.port for service in self.services]
        return Plan(
            self.services, self.environment, self.folder, f"http://localhost:{ports[-1]}", "http://127.0.0.1:9",
            "http://127.0.0.1:9", (),
        )  # fmt: skip

    def pid(self, name: str) -> int:
        note = self.folder / f"{name}.pid"
        wait_until(lambda: note.exists() and note.read_text() != "")
        return int(note.read_text())


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Toys]:
    services = []
    environment = {**os.environ, "TOY_DIR": str(tmp_path), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    for name in ("alpha", "beta"):
        module = f"from tests.support.toy_service import run\nrun('{name}')\n"
        (tmp_path / f"toy_{name}.py").write_text(module)
        service = Service(f"toy_{name}", free_port(), f"{name.upper()}_PORT")
        environment[f"TOY_{name.upper()}_PORT"] = str(service.port)
        services.append(service)
    yield Toys(tmp_path, tuple(services), environment)
    for note in tmp_path.glob("*.pid"):
        if is_alive(int(note.read_text() or 0)):
            os.kill(int(note.read_text()), signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Does a process with this id run (one that only waits to be reaped does not)?"""
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return stat != "" and not stat.startswith("Z")


def wait_until(condition: object, within_s: float = 30) -> None:
    assert callable(condition)
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def answers(service: Service) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{service.port}/readyz").status_code in {200, 503}
    except httpx.TransportError:
        return False


def test_services_start_are_told_when_ready_and_all_end(toys: Toys) -> None:
    processes, ready = toys.processes(), list[str]()
    processes.start()
    processes.wait_ready(lambda service, took_s: ready.append(service.module))
    pids = [toys.pid("alpha"), toys.pid("beta")]
    assert sorted(ready) == ["toy_alpha", "toy_beta"]
    assert all(is_alive(pid) for pid in pids)
    processes.stop()
    assert not any(is_alive(pid) for pid in pids)


def test_a_taken_port_is_told_before_anything_starts(toys: Toys) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", toys.services[1].port))
        listener.listen()
        with pytest.raises(Failure, match=rf"port {toys.services[1].port}.*taken.*set BETA_PORT") as told:
            run(toys.plan(), None, "", once=True)
    assert told.value.exit_code == 2
    assert not (toys.folder / "logs").exists()


def test_a_port_that_is_bound_but_not_listening_is_taken_too(toys: Toys) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", toys.services[0].port))
        with pytest.raises(Failure, match="ALPHA_PORT"):
            toys.processes().check_ports()


def test_a_data_folder_that_cannot_be_written_is_told_with_its_setting(toys: Toys) -> None:
    (toys.folder / "logs").write_text("a file where a folder should be")
    with pytest.raises(Failure, match=r"logs cannot be written \(File exists\); set DATA_DIR") as told:
        run(toys.plan(), None, "", once=True)
    assert told.value.exit_code == 2


def test_a_service_that_dies_early_ends_the_start_with_its_code_and_the_end_of_its_log(toys: Toys) -> None:
    toys.behave("beta", "die")
    with pytest.raises(Failure) as told:
        run(toys.plan(), None, "", once=True)
    assert "toy_beta ended with code 3" in told.value.message
    assert "the model cannot be read" in told.value.message
    assert told.value.exit_code == 1
    assert not (toys.folder / "alpha.pid").exists() or not is_alive(toys.pid("alpha"))


def test_a_service_that_is_never_ready_is_given_up(toys: Toys) -> None:
    toys.behave("beta", "hang")
    processes = toys.processes()
    processes.start()
    wait_until(lambda: answers(toys.services[0]))
    with pytest.raises(Failure, match=r"toy_beta was not ready within 2 s"):
        processes.wait_ready(lambda service, took_s: None, within_s=2)
    processes.stop()
    assert not is_alive(toys.pid("beta"))


def test_what_a_service_lacks_is_told_once_while_it_is_waited_for(toys: Toys) -> None:
    toys.behave("beta", "full")
    processes, told = toys.processes(), list[tuple[str, str]]()
    processes.start()
    wait_until(lambda: all(answers(service) for service in toys.services))
    with pytest.raises(Failure, match="toy_beta was not ready"):
        processes.wait_ready(
            lambda service, took_s: None,
            within_s=4,
            on_wait=lambda service, reason: told.append((service.module, reason)),
            told_after_s=0,
        )
    processes.stop()
    assert told == [("toy_beta", "the disk is full")]


def test_a_service_that_dies_while_serving_ends_the_rest_and_tells_why(toys: Toys) -> None:
    toys.behave("alpha", "late_death")
    with pytest.raises(Failure, match=r"toy_alpha ended with code 9(.|\n)*out of memory"):
        run(toys.plan(), None, "")
    assert not is_alive(toys.pid("beta"))


def test_a_service_that_ignores_sigterm_is_killed_after_the_grace(toys: Toys) -> None:
    toys.behave("alpha", "stubborn")
    processes = toys.processes(grace_s=0.5)
    processes.start()
    processes.wait_ready(lambda service, took_s: None)
    pid = toys.pid("alpha")
    processes.stop()
    assert not is_alive(pid)


def test_what_a_service_started_itself_ends_with_it(toys: Toys) -> None:
    toys.behave("alpha", "parent")
    processes = toys.processes()
    processes.start()
    processes.wait_ready(lambda service, took_s: None)
    grandchild = toys.pid("alpha-child")
    assert is_alive(grandchild)
    processes.stop()
    assert not is_alive(grandchild)


def test_the_log_of_the_run_before_is_kept(toys: Toys) -> None:
    toys.behave("alpha", "die")
    for _ in range(2):
        with pytest.raises(Failure):
            run(toys.plan(), None, "", once=True)
    assert "cannot be read" in (toys.folder / "logs" / "toy_alpha.log.1").read_text()


SCRIPT = """
import os, sys, json
from pathlib import Path
from rag_app.cli import guard
guard.GRACE_S = 120.0  # so that what ends before it was not ended by it
from rag_app.cli.processes import Service
from rag_app.cli.stack import Plan
from rag_app.cli.up import run
services = tuple(Service(*fields) for fields in json.loads(sys.argv[1]))
folder = Path(sys.argv[2])
sys.exit(run(Plan(services, dict(os.environ), folder, "http://localhost:1", "", "", ()), None, ""))
"""


def started(toys: Toys) -> subprocess.Popen[str]:
    """`up` with the toys, as a process of its own in a session of its own."""
    services = json.dumps([[service.module, service.port, service.setting] for service in toys.services])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, services, str(toys.folder)],
        env=toys.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_ending_signal_while_serving_ends_all_with_exit_code_0(toys: Toys, number: signal.Signals) -> None:
    up = started(toys)
    assert up.stdout is not None
    assert up.stdout.readline() == "serving http://localhost:1 (Ctrl-C ends)\n"
    up.send_signal(number)
    _, err = up.communicate(timeout=60)
    assert up.returncode == 0
    assert "Traceback" not in err
    assert not is_alive(toys.pid("alpha"))
    assert not is_alive(toys.pid("beta"))


def test_ctrl_c_while_services_start_ends_them_with_exit_code_130(toys: Toys) -> None:
    toys.behave("beta", "hang")
    up = started(toys)
    pids = [toys.pid("alpha"), toys.pid("beta")]
    up.send_signal(signal.SIGINT)
    _, err = up.communicate(timeout=60)
    assert up.returncode == 130
    assert "Traceback" not in err
    assert not any(is_alive(pid) for pid in pids)


def test_a_second_ctrl_c_kills_at_once(toys: Toys) -> None:
    toys.behave("alpha", "stubborn")
    up = started(toys)
    assert up.stdout is not None
    up.stdout.readline()
    up.send_signal(signal.SIGINT)
    wait_until(lambda: not is_alive(toys.pid("beta")))  # all were told to end, and the grace runs
    assert is_alive(toys.pid("alpha"))
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=60)
    assert not is_alive(toys.pid("alpha"))


def test_services_end_even_when_up_is_killed(toys: Toys) -> None:
    toys.behave("alpha", "parent")
    up = started(toys)
    assert up.stdout is not None
    up.stdout.readline()
    pids = [toys.pid("alpha"), toys.pid("alpha-child"), toys.pid("beta")]
    up.kill()
    up.communicate(timeout=60)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_signal_within_a_held_block_is_raised_at_its_end() -> None:
    interrupts, reached = Interrupts(), list[str]()

    def work_that_must_not_be_torn() -> None:
        with interrupts.held():
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("the end of the block")

    with interrupts.raised(), pytest.raises(Interrupted) as raised:
        work_that_must_not_be_torn()
    assert reached == ["the end of the block"]
    assert raised.value.exit_code == 143


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts().raised():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    assert threading.current_thread() is threading.main_thread()
