"""`make hosts [SEED=n] [ROUNDS=n]`: DungBeetle on several hosts, one of which at a time is cut off and brought back while jobs run.

nginx with the FastCGI process, Redis, two workers, the sources and the results databases are each on a host (a network namespace) of
their own. For each host in turn: jobs are posted all the time, the host is cut off (silently or with its cable out, for longer than
a lease, some times for so long that every connection to it is given up), is brought back, and then every accepted job must have ended
SUCCESS, once, with the right rows, and nothing may be left. Exit status 0: all is well; 1: it is not; 77: this machine allows no
network namespaces. The seed decides what the jobs are, the order and the manner.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import hosts_network
from hosts_checks import Violation, check_all
from hosts_jobs import Clients
from hosts_probes import PROBES
from hosts_stack import HOSTS, HostsStack
from stack import StackError, wait_until

SHORT, LONG = 7.0, 34.0  # seconds of a cut: longer than LEASE; longer than a dead peer goes unnoticed
SKIPPED = 77


def say(text: str) -> None:
    print(text, flush=True)


class Lab:
    def __init__(self, stack: HostsStack, chance: random.Random) -> None:
        self.stack = stack
        self.chance = chance
        self.clients = Clients(stack, chance)
        self.problems: list[str] = []  # broken promises that did not end the run

    def episode(self, host: str, how: str, seconds: float, forget: bool) -> None:
        """One cut, from the first job to the last check."""
        stack, name = self.stack, f"{host} {how} for {seconds:.0f} s{', its connections forgotten' if forget else ''}"
        began = time.monotonic()
        with self.clients.posting():
            wait_until(lambda: self.clients.accepted_now() >= 20, 30, "jobs to be accepted", stack.programs())
            running = self.on_worker(host)
            stack.network.cut(host, how)
            cut = time.monotonic()
            if forget:
                stack.forget(host)
            if host.startswith("worker"):
                self.taken_over(host, running, cut)
                self.orphans_end(host, cut, seconds)
            time.sleep(max(0.0, cut + seconds - time.monotonic()))
            stack.network.join(host)
            joined = time.monotonic()
            self.recovers(joined)
        jobs = self.clients.wait_all(120)
        ended = time.monotonic()
        check_all(stack, self.clients)
        say(f"{name}: {len(jobs)} jobs, all ended {ended - joined:.1f} s after the return; {time.monotonic() - began:.0f} s in all")

    def probe(self, name: str) -> None:
        said = ""
        try:
            said = f"{name}: {PROBES[name](self.stack, self.clients)}"
        except Violation as violation:  # the others are of interest all the same
            self.problems.append(f"{name}: {violation}")
        self.clients.wait_all(150)
        check_all(self.stack, self.clients)
        say(said or self.problems[-1])

    def on_worker(self, host: str) -> set[str]:
        """The jobs that run there."""
        if not host.startswith("worker"):
            return set()
        return wait_until(lambda: self.stack.running_on(host), 30, f"a job that runs on {host}")

    def taken_over(self, host: str, jobs: set[str], cut: float) -> None:
        """The other worker runs all of them soon."""
        wait_until(lambda: not jobs & self.stack.running_on(host), self.stack.LEASE + 20, f"another run of {jobs}", self.stack.programs())
        say(f"  the {len(jobs)} jobs of {host} have moved on {time.monotonic() - cut:.1f} s after the cut (lease {self.stack.LEASE} s)")

    def orphans_end(self, host: str, cut: float, seconds: float) -> None:
        """Nobody waits for the queries of the host that is gone, so they end."""
        if seconds < LONG:
            return
        address = self.stack.network.address(host)
        try:
            wait_until(lambda: not self.stack.queries_from(address), 70, "an end of the sessions")
        except StackError:
            raise Violation(f"{time.monotonic() - cut:.0f} s after the cut there are still {self.stack.queries_from(address)}") from None
        say(f"  its queries and sessions in the databases have ended {time.monotonic() - cut:.1f} s after the cut")

    def recovers(self, joined: float) -> None:
        """Jobs of each kind run again to their ends."""
        for job in [self.clients.submit(kind) for kind in ("hosts_quick", "hosts_my_quick", "hosts_ch_quick")]:
            self.clients.wait(job, 90)
        say(f"  jobs of all sources end again {time.monotonic() - joined:.1f} s after the return")


def plan(chance: random.Random, rounds: int) -> list[tuple[str, str, float, bool]]:
    """Each host once a round, for a short and a long time in turn; every second time it forgets its connections."""
    cuts = []
    for number in range(rounds):
        for i, host in enumerate(chance.sample(HOSTS, len(HOSTS))):
            cuts.append((host, chance.choice(["silent", "unplugged"]), LONG if (number + HOSTS.index(host)) % 2 else SHORT, chance.random() < 0.5))
    return cuts


def one_cut(text: str) -> tuple[str, str, float, bool]:
    host, how, seconds, *forget = text.split(":")
    if host not in HOSTS or how not in ("silent", "unplugged"):
        raise ValueError(text)
    return host, how, float(seconds), forget == ["forget"]


def run(options: argparse.Namespace) -> int:
    chance = random.Random(options.seed)
    cuts = plan(chance, options.rounds)
    probes = list(PROBES)
    if options.cut or options.probe:
        cuts = options.cut
        probes = options.probe
    say(f"seed {options.seed}: {len(cuts)} cuts, {len(probes)} probes")
    with tempfile.TemporaryDirectory(prefix="dungbeetle-hosts-") as directory:
        Path(directory).chmod(0o755)  # the databases' users go through it
        stack = HostsStack(Path(directory), hosts_network.Network(HOSTS), options.bin_dir)
        try:
            with stack:
                lab = Lab(stack, chance)
                for cut in cuts:
                    lab.episode(*cut)
                for probe in probes:
                    lab.probe(probe)
                if lab.problems:
                    raise Violation("; ".join(lab.problems))
                say(f"zero violations: {lab.clients.total()} jobs accepted, each SUCCESS once with the right rows; {len(cuts)} cuts")
        except (Violation, StackError) as problem:
            say(f"VIOLATION (seed {options.seed}): {problem}")
            for program in stack.programs():
                say(f"--- {program.name}\n{program.log_tail(25)}")
            return 1
        finally:
            stack.remove()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", default="bin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cut", type=one_cut, action="append", default=[], help="these cuts alone; HOST:silent|unplugged:SECONDS[:forget]")
    parser.add_argument("--probe", choices=list(PROBES), action="append", default=[], help="these probes alone")
    options = parser.parse_args()
    reason = hosts_network.why_not()
    if reason:
        say(f"skipped: {reason}")
        return SKIPPED
    hosts_network.enter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
