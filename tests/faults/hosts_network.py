"""Hosts on one machine: network namespaces on a bridge, each of which can be cut off and brought back. For root on Linux.

Everything lives in namespaces of this process' own (enter() makes it start again inside them), so that neither the machine's network
nor another run is touched, and the kernel takes all of it away when the last process inside has ended, however that came about.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Sequence

NET = "10.78.0"
HERE_NUMBER = 254  # the address of the process itself, which is on the bridge too
INSIDE = "DUNGBEETLE_HOSTS_INSIDE"
NAMES = Path("/run/netns")  # where `ip netns` keeps its names
PROBE = f"mkdir -p {NAMES} && mount -t tmpfs none {NAMES} && ip link set lo up && ip netns add probe && ip link add one type veth peer name two netns probe"
UNSHARE = ["unshare", "--net", "--mount", "--propagation", "private", "--"]


def why_not() -> str:
    """Why this machine allows no such hosts; empty when it does."""
    try:
        done = subprocess.run([*UNSHARE, "sh", "-c", PROBE + " && ip link add three type bridge"], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    return "" if done.returncode == 0 else f"no network namespaces here: {done.stderr.strip() or done.returncode}"


def enter() -> None:
    """Runs this program again inside namespaces of its own; returns there."""
    if os.environ.get(INSIDE) == "1":
        del os.environ[INSIDE]
        ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM: a test that is killed takes us with it
        run("sh", "-c", f"mkdir -p {NAMES} && mount -t tmpfs none {NAMES}")
        return
    os.execvpe(UNSHARE[0], [*UNSHARE, sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """The hosts of these names, and this process' own as `here`. Neighbours are known for good, as behind a router: what is sent to a
    host that is cut off vanishes without an error."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = list(hosts)
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "switch", "address", self._mac(HERE_NUMBER), "type", "bridge")
        run("ip", "address", "add", f"{NET}.{HERE_NUMBER}/24", "dev", "switch")
        run("ip", "link", "set", "switch", "up")
        for i, host in enumerate(self.hosts, 1):
            run("ip", "netns", "add", host)
            run("ip", "link", "add", self._port(host), "type", "veth", "peer", "name", "eth0", "address", self._mac(i), "netns", host)
            run("ip", "link", "set", self._port(host), "master", "switch", "up")
            run("ip", "-n", host, "link", "set", "lo", "up")
            run("ip", "-n", host, "link", "set", "eth0", "up")
            run("ip", "-n", host, "address", "add", f"{NET}.{i}/24", "dev", "eth0")
            # As the README advises for hosts of MySQL: the other end is given up after some 25 s (0.2 s, doubled seven times).
            run(*self.prefix(host), "sh", "-c", "echo 6 > /proc/sys/net/ipv4/tcp_retries2")
        numbers = {i: host for i, host in enumerate(self.hosts, 1)}
        for number in [*numbers, HERE_NUMBER]:
            for i, host in numbers.items():
                if i != number:
                    run("ip", "-n", host, "neigh", "replace", f"{NET}.{number}", "lladdr", self._mac(number), "dev", "eth0", "nud", "permanent")
        for i in numbers:
            run("ip", "neigh", "replace", f"{NET}.{i}", "lladdr", self._mac(i), "dev", "switch", "nud", "permanent")

    @staticmethod
    def _port(host: str) -> str:
        return f"to-{host}"

    @staticmethod
    def _mac(number: int) -> str:
        return f"02:00:00:00:00:{number:02x}"

    def address(self, host: str) -> str:
        return f"{NET}.{self.hosts.index(host) + 1}"

    def prefix(self, host: str) -> list[str]:
        """The command that runs the one behind it on the host, in its own place."""
        return ["nsenter", f"--net={NAMES / host}", "--"]

    def cut(self, host: str, how: str) -> None:
        """silent: what goes to and from it vanishes; unplugged: the host sees that its cable is out."""
        run("ip", "link", "set", self._port(host), *(["down"] if how == "unplugged" else ["nomaster"]))

    def join(self, host: str) -> None:
        """Brings it back."""
        run("ip", "link", "set", self._port(host), "master", "switch", "up")

    def forget(self, host: str, port: int) -> None:
        """As in a crash of the host: it knows nothing any more of the connections to that port. To be called while it is cut off."""
        run(*self.prefix(host), "ss", "-K", "sport", "=", f":{port}")
