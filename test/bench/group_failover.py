"""Three schedulers with 100,000 running tasks: snapshots of them, the leader killed again and again, and the replay of the same log.

When a fail-over begins is told by an independent ZooKeeper client (kazoo), which watches the leader's candidate znode: it sees the
deletion when ZooKeeper ends the session of the killed leader, as the standbys do. It is over when the first write (createJob) sent
since to the others is answered with OK. etcd with three members loses its leader in between, in turns with ours; it has no such
witness, so what is compared is the time from the kill, of which most is either one's time-out.
"""
import datetime
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from kazoo.client import KazooClient

from cluster import Cluster, wait_until
from etcd import Etcd
from group_job import job
from table import median, row, spread
from tool import Tool

TASKS, JOBS, AGENTS = 100000, 10, 1000
SESSION_MS = 2000
ELECTION_PATH = "/aurora/scheduler"
KILLS_PER_ROUND = 4
SNAPSHOTS = 3
PROBE_S = 4
POLL_S = 0.004  # between two attempts to write at the same place
ATTEMPT_S = 0.2  # an attempt without an answer is given up: it may have gone to somebody who is dead
DEADLINE_S = 60


class FirstWrite(threading.Thread):
    """Writes at some ports, at each a new attempt every POLL_S over a connection of its own, until one is answered with success."""

    def __init__(self, ports, request, succeeded):
        super().__init__(daemon=True)
        self.ports, self.request, self.succeeded = ports, request, succeeded
        self.answered = None  # time.time()
        self.attempts, self.give_up = [], threading.Event()

    def begin_attempts(self):
        for port in self.ports:
            s = socket.socket()
            try:
                s.connect(("127.0.0.1", port))
                s.sendall(self.request())
                s.setblocking(False)
                self.attempts.append((s, time.monotonic(), bytearray()))
            except OSError:
                s.close()

    def look(self, attempt):
        """True: it is over. Closed by the other side behind the answer, as asked for."""
        s, began, got = attempt
        try:
            data = s.recv(65536)
        except BlockingIOError:
            return time.monotonic() - began > ATTEMPT_S
        except OSError:
            return True
        got += data
        if self.succeeded(bytes(got)):
            self.answered = time.time()
        return not data

    def run(self):
        while not self.answered and not self.give_up.is_set():
            self.begin_attempts()
            left = []
            for a in self.attempts:
                if not self.answered and not self.look(a):
                    left.append(a)
                else:
                    a[0].close()
            self.attempts = left
            time.sleep(POLL_S)
        for a in self.attempts:
            a[0].close()

    def wait(self):
        self.join(DEADLINE_S)
        self.give_up.set()
        if not self.answered:
            raise TimeoutError("no write is answered")
        return self.answered


def post(path, body):
    data = json.dumps(body).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(data)}\r\n\r\n").encode() + data


class Names:
    n = 0

    @classmethod
    def create_job(cls):
        cls.n += 1
        return post("/api/v1/createJob", {"description": job(f"first-{cls.n}", 1)})


def created(got):
    return b" 200 OK" in got and json.loads(got.split(b"\r\n\r\n", 1)[1] or b"{}").get("responseCode") == "OK"


def put_key():
    return post("/v3/kv/put", {"key": "Zmlyc3Q=", "value": "d3JpdGU="})


# ---------------- ours ----------------

class Ours:
    def __init__(self, build):
        self.c = Cluster(build=build, agents=AGENTS, simulate=True, schedulers=3, session_ms=SESSION_MS,
                         agent_resources="cpus:64;mem:65536;disk:1000000;ports:[31000-32000]",
                         flags=["-max_tasks_per_job=100000"])
        self.zk = None

    def start(self):
        self.c.start()
        self.zk = KazooClient(hosts=self.c.zk.address, timeout=20)
        self.zk.start(timeout=DEADLINE_S)

    def close(self):
        if self.zk:
            self.zk.stop()
            self.zk.close()
        self.c.close()

    def fill(self):
        began = time.monotonic()
        for i in range(JOBS):
            answer = self.c.rpc("createJob", description=job(f"fill-{i}", TASKS // JOBS))
            if answer["responseCode"] != "OK":
                raise RuntimeError(f"createJob: {answer}")
        wait_until(lambda: self.c.scheduler.var("task_store_RUNNING") >= TASKS, 240, pause=0.2, what="all are running")
        self.wait_calm()
        return time.monotonic() - began

    def wait_calm(self):
        """The leader has nothing left to write, and all standbys have applied it."""
        wait_until(lambda: self.c.scheduler.var("pipeline_held_steps") == 0, DEADLINE_S, what="all is durable")
        for s in self.c.followers():
            wait_until(lambda s=s: s.replica()["votes"] and s.replica()["lag"] <= 1, DEADLINE_S, what=f"{s.name} has caught up")

    def watch_candidate(self):
        """An event with .at, time.time(), for the end of the leader's znode: the lowest number is the leader's."""
        gone = threading.Event()

        def on_event(_):
            gone.at = time.time()
            gone.set()
        names = [n for n in self.zk.get_children(ELECTION_PATH) if "-lock-" in n]
        leader = min(names, key=lambda n: n.rsplit("-", 1)[1])
        if not self.zk.exists(f"{ELECTION_PATH}/{leader}", watch=on_event):
            raise RuntimeError("the leader's znode is gone already")
        return gone

    def kill(self):
        """Kills the leader; when that was, when ZooKeeper told, when the first write was answered: all time.time()."""
        dead = self.c.scheduler
        gone = self.watch_candidate()
        first = FirstWrite([s.http_port for s in self.c.followers()], Names.create_job,
                           created)
        first.start()
        killed = time.time()
        dead.kill9()
        if not gone.wait(DEADLINE_S):
            raise TimeoutError("ZooKeeper does not tell of the leader's death")
        answered = first.wait()
        self.c.leader()
        return dead, killed, gone.at, answered

    def restart(self, dead):
        """How long until it was level with the others again."""
        began = time.monotonic()
        dead.start(active=False)
        self.wait_calm()
        return time.monotonic() - began

    def stages(self, since):
        """Seconds from `since` to the lines of the new leader's log that tell how it took over."""
        found = {}
        for line in self.c.scheduler.log.splitlines():
            for event in ("state=LEADER_AWAITING_REGISTRATION", " replayed ", "state=ACTIVE"):
                if event in line:
                    stamp = datetime.datetime.fromisoformat(line.split("Z ")[0] + "+00:00").timestamp()
                    found[event.strip()] = stamp - since
        return found


# ---------------- snapshots ----------------

def longest_passes(schedulers, seconds):
    """Of their loops, by their own count (ms), which is renewed every second."""
    longest, end = [0] * len(schedulers), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.7)
        longest = [max(n, s.var("loop_busy_ms")) for n, s in zip(longest, schedulers)]
    return longest


def snapshot(leader):
    began = time.monotonic()
    answer = leader.rpc("snapshot")
    if answer["responseCode"] != "OK":
        raise RuntimeError(f"snapshot: {answer}")
    return time.monotonic() - began


def probe(probes, schedulers, meanwhile):
    """For each scheduler the longest wait for /health and its own longest pass, in ms."""
    for p in probes:
        p.send(f"health {PROBE_S}")
    meanwhile()
    own = longest_passes(schedulers, PROBE_S / 2)
    return [(json.loads(p.read(PROBE_S + DEADLINE_S))["max_ms"], o) for p, o in zip(probes, own)]


def snapshot_rows(ours):
    """Everybody's /health is asked every millisecond from other processes, while nothing happens and while snapshots are written."""
    schedulers = [ours.c.scheduler, ours.c.followers()[0]]
    calm, busy, took, probes = [], [], [], []
    try:
        probes += [Tool(f"{ours.c.build}/test/bench_probe", s.http_port) for s in schedulers]
        for _ in range(SNAPSHOTS):
            calm.append(probe(probes, schedulers, lambda: None))
            busy.append(probe(probes, schedulers, lambda: took.append(snapshot(schedulers[0]))))
    finally:
        for p in probes:
            p.close()
    row(f"snapshot of {TASKS} tasks", f"{median(took) * 1e3:.0f} ms, worst {max(took) * 1e3:.0f} ms", "until its RPC is answered")
    for i, who in enumerate(("leader", "standby")):
        (worst, own), (base, own_base) = (tuple(max(f[i][k] for f in turns) for k in (0, 1)) for turns in (busy, calm))
        row(f"longest wait for the {who}'s /health meanwhile (longest pass of its loop)", f"{worst:.1f} ms ({own} ms)",
            f"without a snapshot {base:.1f} ms ({own_base} ms)", f"{worst / base:.1f}", "< 10 ms" if i == 0 else "")


# ---------------- replay ----------------

def replay(ours, folder):
    """What a start from a copy of this folder costs, the process alone."""
    with tempfile.TemporaryDirectory(dir=ours.c.build) as d:
        copy = os.path.join(d, "log")
        shutil.copytree(folder, copy)
        out = subprocess.run([f"{ours.c.build}/test/bench_replay", copy, "2"], check=True, timeout=120, stdout=subprocess.PIPE).stdout
    r = json.loads(out)
    if r["tasks"] < TASKS:
        raise RuntimeError(f"only {r['tasks']} tasks in the log")
    r["ms"] = r["open_ms"] + r["replay_ms"]
    return r


def replay_row(what, results):
    r = results[len(results) // 2]
    ms = median([x["ms"] for x in results])
    row(f"cold replay of {what}", f"{median([x['tasks'] / x['ms'] * 1e3 for x in results]):.0f} tasks/s: {ms:.0f} ms",
        f"{r['tasks']} tasks, {r['bytes'] / 1e6:.1f} MB; {median([x['open_ms'] for x in results]):.0f} ms of it to open the folder")
    return ms


def folder_of(scheduler):
    return next(a.split("=", 1)[1] for a in scheduler.argv if a.startswith("-native_log_file_path="))


# ---------------- etcd ----------------

def kill_etcd(etcd):
    leader = etcd.leader()
    first = FirstWrite([m.client for m in etcd.members if m is not leader], put_key, lambda got: b"HTTP/1.1 200 OK" in got)
    first_known = time.time()
    leader.kill9()
    first.start()
    took = first.wait() - first_known
    leader.spawn()
    etcd.wait_healthy()
    return took


# ---------------- the whole ----------------

class Figures:
    def __init__(self):
        self.from_zk, self.from_kill, self.etcd, self.rejoin, self.stages, self.replays = [], [], [], [], [], []


def one_kill(ours, etcd, f):
    dead, killed, told, answered = ours.kill()
    f.from_zk.append((answered - told) * 1e3)
    f.from_kill.append((answered - killed) * 1e3)
    f.stages.append(ours.stages(told))
    folder = folder_of(dead)
    if len(f.from_zk) % KILLS_PER_ROUND == 1:
        f.replays.append(replay(ours, folder))
    f.rejoin.append(ours.restart(dead) * 1e3)
    f.etcd.append(kill_etcd(etcd) * 1e3)


def print_failover(f):
    n = len(f.from_zk)
    print("  stages of each, ms since ZooKeeper told: " + "; ".join(
        " ".join(f"{k.split('=')[-1]}={v * 1e3:.0f}" for k, v in s.items()) for s in f.stages), flush=True)
    cold = replay_row("the same log with a snapshot in it", f.replays)
    row(f"fail-over with {TASKS} tasks, {n} kills: p50 / p90 / max, from ZooKeeper's report to the first write answered",
        spread(f.from_zk), f"cold replay of the same log {cold:.0f} ms", f"{median(f.from_zk) / cold:.2f}", "< 300 ms")
    row(f"the same from the kill -9 (session of {SESSION_MS} ms)", spread(f.from_kill), f"etcd, 3 members {spread(f.etcd)}",
        f"{median(f.from_kill) / median(f.etcd):.2f}")
    row("the killed one started again, until it has caught up", spread(f.rejoin))


def kill_often(ours, etcd, n):
    """If one of them goes wrong, those before it still count."""
    f = Figures()
    try:
        for _ in range(n):
            one_kill(ours, etcd, f)
    finally:
        if f.etcd:
            print_failover(f)


def run(build, rounds):
    ours = Ours(build)
    with tempfile.TemporaryDirectory(dir=build) as d:
        etcd = Etcd(os.path.join(d, "etcd"), 3)
        try:
            ours.start()
            etcd.start()
            row(f"createJob of {TASKS} tasks in {JOBS} jobs on {AGENTS} agents with 3 members, until all RUNNING", f"{ours.fill():.1f} s")
            dead, killed, told, answered = ours.kill()
            print(f"  first fail-over, before any snapshot: {(answered - told) * 1e3:.0f} ms", flush=True)
            replay_row("that log as it was written, without a snapshot", [replay(ours, folder_of(dead)) for _ in range(2)])
            ours.restart(dead)
            snapshot_rows(ours)
            kill_often(ours, etcd, rounds * KILLS_PER_ROUND)
        finally:
            ours.close()
            etcd.close()
