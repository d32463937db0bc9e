"""Durable appends with 1, 3 and 5 members, by one caller and by many, beside raw fdatasync and etcd with as many members.

All clusters are up all the time; turns go round, so that every kind meets the same background load. Ours is measured where the
scheduler uses it: the callers are in the writer's process. etcd's callers are outside, over its own gRPC, at its leader.
"""
import os
import tempfile

from etcd import Etcd
from table import median, row
from tool import Tool

MEMBERS, CALLERS = (1, 3, 5), (1, 64)
TURN_S = 0.7
# Mesos's own C++ log, 1 KiB entries by one sequential writer: appends per second by members. Quoted: see docs/bench.md.
MESOS = {1: 459, 3: 273}
AIM_ETCD_MANY, AIM_MESOS_ONE, AIM_MESOS_MANY = 4, 2, 20


class Log:
    """Ours: one process per member, over libprocess."""

    def __init__(self, build, directory, n):
        self.members = []
        try:
            for i in range(n):
                folder = os.path.join(directory, f"log-{n}-{i}")
                os.makedirs(folder)
                self.members.append(Tool(f"{build}/test/bench_append", folder, n // 2 + 1))
            pids = [m.read() for m in self.members]
            for m, own in zip(self.members, pids):
                if n > 1:
                    m.ask("peers " + " ".join(p for p in pids if p != own))
            self.writer = self.members[0]
            self.writer.ask("lead")
        except BaseException:
            self.close()
            raise

    def turn(self, callers):
        """What the turn gave, with the bytes that each member sent per append."""
        before = [m.figures("bytes")["sent"] for m in self.members]
        t = self.writer.figures(f"log {callers} {TURN_S}", TURN_S)
        after = [m.figures("bytes")["sent"] for m in self.members]
        t["bytes"] = [(b - a) / t["n"] for a, b in zip(before, after)]
        return t

    def raw(self, callers):
        return self.writer.figures(f"raw {callers} {TURN_S}", TURN_S)

    def close(self):
        for m in self.members:
            m.close()


class EtcdLoad:
    def __init__(self, build, directory, n):
        self.etcd, self.tool = Etcd(os.path.join(directory, f"etcd-{n}"), n), None
        try:
            self.leader = self.etcd.start()
            self.tool = Tool(f"{build}/test/bench_etcd", self.leader.client)
        except BaseException:
            self.close()
            raise

    def turn(self, callers):
        before = self.leader.sent_bytes()
        t = self.tool.figures(f"put {callers} {TURN_S}", TURN_S)
        t["bytes"] = [(self.leader.sent_bytes() - before) / t["n"]]
        return t

    def close(self):
        if self.tool:
            self.tool.close()
        self.etcd.close()


def text(turns):
    return f"{median([t['per_second'] for t in turns]):.0f} ({median([t['p50_ms'] for t in turns]):.2f}, " \
           f"{median([t['p99_ms'] for t in turns]):.2f} ms)"


def ratio(ours, theirs):
    return median([a["per_second"] / b["per_second"] for a, b in zip(ours, theirs)])


def append_row(n, callers, ours, etcd, raw):
    rate, mesos = median([t["per_second"] for t in ours]), MESOS.get(n)
    ratios = f"{ratio(ours, etcd):.2f} x etcd, {ratio(ours, raw):.2f} x raw"
    aims = [f">= {AIM_ETCD_MANY} x etcd"] if callers > 1 else []
    if mesos:
        ratios += f", {rate / mesos:.1f} x Mesos"
        aims.append(f">= {AIM_MESOS_MANY if callers > 1 else AIM_MESOS_ONE} x Mesos ({mesos}/s)")
    row(f"appends/s of 1 KiB (p50, p99), {n} member{'s' * (n > 1)}, {callers} caller{'s' * (callers > 1)}", text(ours),
        f"etcd {text(etcd)}; raw fdatasync {text(raw)}", ratios, ", ".join(aims))


def bytes_row(n, callers, ours, etcd):
    sent = [median([t["bytes"][i] for t in ours]) for i in range(n)]
    row(f"bytes sent per append of 1 KiB, {n} members, {callers} caller{'s' * (callers > 1)}",
        f"writer {sent[0]:.0f} ({sent[0] / (n - 1):.0f} to each of {n - 1}), others {median(sent[1:]):.0f}",
        f"etcd's leader {median([t['bytes'][0] for t in etcd]):.0f}",
        f"{sent[0] / median([t['bytes'][0] for t in etcd]):.2f}")


def measure(logs, etcds, rounds):
    raw, ours, theirs = ({(n, c): [] for n in MEMBERS for c in CALLERS} for _ in range(3))
    for _ in range(rounds):
        for c in CALLERS:
            for n in MEMBERS:
                raw[n, c].append(logs[1].raw(c))
                ours[n, c].append(logs[n].turn(c))
                theirs[n, c].append(etcds[n].turn(c))
    return raw, ours, theirs


def print_rows(raw, ours, theirs):
    for n in MEMBERS:
        for c in CALLERS:
            append_row(n, c, ours[n, c], theirs[n, c], raw[n, c])
    for n in MEMBERS[1:]:
        for c in CALLERS:
            bytes_row(n, c, ours[n, c], theirs[n, c])
    busiest = max(t["cpu"] for v in theirs.values() for t in v)
    row("etcd's load generator, CPU in its busiest turn", f"{busiest:.2f} cores", "", "", "< 0.5: it is not the limit")


def run(build, rounds):
    logs, etcds = {}, {}
    with tempfile.TemporaryDirectory(dir=build) as d:
        try:
            for n in MEMBERS:
                logs[n] = Log(build, d, n)
                etcds[n] = EtcdLoad(build, d, n)
            print_rows(*measure(logs, etcds, rounds))
        finally:
            for x in (*logs.values(), *etcds.values()):
                x.close()
