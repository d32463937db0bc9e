"""Load with a memory, for tests that kill: nothing that a client was told is lost, nothing is invented.

Clients create, kill and restart jobs and read tasks. Each remembers what it was told (acknowledged), what it asked without an answer
(in doubt), and every task that an answer showed it; check() compares the whole state with that.
"""
import http.client
import json
import os
import random
import threading
import time

SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(1 << 32))))
CLIENTS = 6
MAX_JOBS_ALIVE = 24
ORDER = ["THROTTLED", "PENDING", "ASSIGNED", "STARTING", "RUNNING", "RESTARTING", "KILLING"]
ACTIVE = set(ORDER) | {"DRAINING", "PREEMPTING", "PARTITIONED"}


def rank(status):
    """A task only ever moves on: a later status never has a lower rank than one that was seen."""
    return ORDER.index(status) if status in ORDER else len(ORDER)


class Job:
    def __init__(self, name, instances):
        self.name, self.instances = name, instances
        self.created = self.killed = None  # None: not asked; "doubt": asked; "told": acknowledged


class Client(threading.Thread):
    """Works on jobs of its own, so that what it was told is not changed by others."""
    SIZES = [1, 1, 2, 5, 20, 600]  # instances of a job

    def __init__(self, number, port, world, may_be_deposed=False):
        super().__init__(daemon=True)
        self.rng = random.Random(f"{SEED}/{number}/{world.round}")
        self.number, self.port, self.world = number, port, world
        self.may_be_deposed = may_be_deposed  # a leader that has just lost its office says ERROR_TRANSIENT
        self.error, self.stop = None, False

    def call(self, method, **args):
        body = json.dumps(args)
        self.conn.request("POST", f"/api/v1/{method}", body, {"Content-Type": "application/json"})
        r = self.conn.getresponse()
        answer = json.loads(r.read())
        if r.status != 200:
            raise AssertionError(f"{method}: {r.status} {answer}")
        if self.may_be_deposed and answer["responseCode"] == "ERROR_TRANSIENT":
            raise ConnectionError("the leader ends")
        return answer

    def describe(self, job):
        return self.world.description(job)

    def create(self):
        job = Job(f"j{self.number}-{self.world.round}-{len(self.world.jobs)}-{self.rng.randrange(10**6)}",
                  self.rng.choice(self.SIZES))
        job.created = "doubt"
        self.world.add(self.number, job)
        code = self.call("createJob", description=self.describe(job))["responseCode"]
        if code != "OK":
            raise AssertionError(f"createJob {job.name}: {code}")
        job.created = "told"

    def kill(self):
        jobs = [j for j in self.world.of(self.number) if j.created == "told" and j.killed is None]
        if not jobs:
            return
        job = self.rng.choice(jobs)
        job.killed = "doubt"
        code = self.call("killTasks", job=self.world.key(job.name))["responseCode"]
        if code != "OK":
            raise AssertionError(f"killTasks {job.name}: {code}")
        job.killed = "told"

    def restart(self):
        jobs = [j for j in self.world.of(self.number) if j.created == "told" and j.killed is None]
        if jobs:
            job = self.rng.choice(jobs)
            self.call("restartShards", job=self.world.key(job.name), shardIds=[0])

    def read(self):
        jobs = self.world.of(self.number)
        if jobs:
            answer = self.call("getTasksWithoutConfigs", query={"role": "www", "jobName": self.rng.choice(jobs).name})
            for t in answer["result"]["scheduleStatusResult"]["tasks"]:
                self.world.see(t)

    def run(self):
        self.conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            while not self.stop:
                alive = sum(j.killed is None for j in self.world.of(self.number))
                step = self.rng.choices([self.create, self.kill, self.restart, self.read],
                                        [3 if alive < MAX_JOBS_ALIVE // CLIENTS else 0, 2, 1, 3])[0]
                step()
        except (OSError, http.client.HTTPException, ValueError):
            pass  # the scheduler was killed under us
        except AssertionError as e:
            self.error = e


class Elsewhere(Exception):
    """The scheduler that was asked does not lead, and has done nothing."""


class Roamer(Client):
    """Goes on through faults: what is not answered stays in doubt, and the next scheduler is asked. Half of its calls do not let
    themselves be sent away, so that one which wrongly believes to lead would take them."""
    SIZES = [1, 1, 2, 5, 20]

    def __init__(self, number, schedulers, world, patience_s=5):
        super().__init__(number, None, world)
        self.schedulers, self.at, self.patience_s, self.conn = schedulers, number % len(schedulers), patience_s, None

    def connect(self):
        s = self.schedulers[self.at]
        self.conn = http.client.HTTPConnection("127.0.0.1", s.http_port, timeout=self.patience_s)
        self.conn.connect()
        self.process = (s.name, s.pid)

    def call(self, method, **args):
        if self.conn is None:
            self.connect()
        headers = {"Content-Type": "application/json"}
        if self.rng.random() < 0.5:
            headers["Bypass-Leader-Redirect"] = "true"
        asked = time.monotonic()
        self.conn.request("POST", f"/api/v1/{method}", json.dumps(args), headers)
        r = self.conn.getresponse()
        body = r.read()
        if r.status in (307, 503):
            raise Elsewhere
        answer = json.loads(body)
        if r.status != 200:
            raise AssertionError(f"{method}: {r.status} {answer}")
        if answer["responseCode"] == "ERROR_TRANSIENT":
            raise Elsewhere
        if answer["responseCode"] == "OK" and method in ("createJob", "killTasks"):
            self.world.acknowledge(self.process, asked, time.monotonic())
        return answer

    def work(self):
        mine = [j for j in self.world.of(self.number) if j.created == "told" and j.killed is None]
        step = self.rng.choices([self.create, self.kill, self.restart, self.read],
                                [3 if len(mine) < MAX_JOBS_ALIVE // CLIENTS else 0, 2, 1, 3])[0]
        step()

    def disconnect(self):
        if self.conn:
            self.conn.close()
        self.conn = None

    def run(self):
        while not self.stop:
            try:
                self.work()
            except AssertionError as e:
                self.error, self.stop = e, True
            except (Elsewhere, OSError, http.client.HTTPException, ValueError):
                self.disconnect()
                self.at = (self.at + 1) % len(self.schedulers)
                threading.Event().wait(0.02)
        self.disconnect()


class World:
    def __init__(self):
        self.lock = threading.Lock()
        self.jobs, self.seen, self.round = {}, {}, 0
        self.acknowledged = {}  # by process: when the first answer came, when the last call was made that got one, and how many

    def acknowledge(self, process, asked, answered):
        with self.lock:
            first, last, n = self.acknowledged.get(process, (answered, asked, 0))
            self.acknowledged[process] = min(first, answered), max(last, asked), n + 1

    def add(self, number, job):
        with self.lock:
            self.jobs[job.name] = (number, job)

    def of(self, number):
        with self.lock:
            return [j for n, j in self.jobs.values() if n == number]

    def key(self, name):
        return {"role": "www", "environment": "prod", "name": name}

    def see(self, task):
        with self.lock:
            tid, status = task["assignedTask"]["taskId"], task["status"]
            if tid not in self.seen or rank(status) > rank(self.seen[tid]):
                self.seen[tid] = status

    def description(self, job):
        key = self.key(job.name)
        return {"key": key, "owner": {"user": "www"}, "instanceCount": job.instances,
                "taskConfig": {"job": key, "owner": {"user": "www"}, "isService": True,
                               "resources": [{"numCpus": 0.01}, {"ramMb": 1}, {"diskMb": 1}],
                               "executorConfig": {"name": "CommandExecutor", "data": "true"}}}


def check_one_writer(test, world):
    """Whoever writes never writes again once somebody else has: the processes that acknowledged writes did so one after the other."""
    order = sorted(world.acknowledged.items(), key=lambda item: item[1][0])
    for (a, (_, a_last, _)), (b, (b_first, _, _)) in zip(order, order[1:]):
        test.assertLess(a_last, b_first, f"{a} took a write that was asked for after {b} had answered one")


def check(test, c, world):
    """Compares the whole state of the cluster c with what clients were told and shown; test: the TestCase."""
    answer = c.rpc("getTasksStatus", query={"role": "www"})
    test.assertEqual(answer["responseCode"], "OK", answer)
    tasks = answer["result"]["scheduleStatusResult"]["tasks"]
    by_job, by_id = {}, {}
    for t in tasks:
        name = t["assignedTask"]["task"]["job"]["name"]
        by_job.setdefault(name, []).append(t)
        by_id[t["assignedTask"]["taskId"]] = t
    for name, ts in by_job.items():
        test.assertIn(name, world.jobs, f"round {world.round}: invented job {name}")
        job = world.jobs[name][1]
        active = [t["assignedTask"]["instanceId"] for t in ts if t["status"] in ACTIVE]
        test.assertEqual(len(active), len(set(active)), f"{name}: an instance twice: {active}")
        test.assertTrue(set(active) <= set(range(job.instances)), f"{name}: {active}")
    for name, (_, job) in world.jobs.items():
        ts = by_job.get(name, [])
        active = {t["assignedTask"]["instanceId"] for t in ts if t["status"] in ACTIVE}
        if job.created == "told" and job.killed is None:
            test.assertEqual(active, set(range(job.instances)), f"round {world.round}: {name} lost instances")
        if job.killed == "told":
            alive = [t["status"] for t in ts if t["status"] in ACTIVE and t["status"] != "KILLING"]
            test.assertEqual(alive, [], f"round {world.round}: {name} was killed")
        if job.created == "doubt" and job.killed is None:
            # All or nothing, and from now on it is known.
            test.assertIn(active, (set(), set(range(job.instances))), f"round {world.round}: half of {name}")
            job.created = "told" if active else "never"
        if job.killed == "doubt":
            alive = [t for t in ts if t["status"] in ACTIVE and t["status"] != "KILLING"]
            test.assertIn(len(alive), (0, job.instances), f"round {world.round}: {name} half killed")
            job.killed = None if alive else "told"
    for tid, status in list(world.seen.items()):
        if tid in by_id:
            test.assertGreaterEqual(rank(by_id[tid]["status"]), rank(status), f"{tid} went back from {status}")
        else:
            # A killed task that never ran leaves no record; everything else that was shown must still be there.
            test.assertIn(status, ("PENDING", "THROTTLED"), f"round {world.round}: {tid} is gone, was {status}")
            job = next((j for _, j in world.jobs.values() if tid.startswith(f"www-prod-{j.name}-")), None)
            test.assertIn(job and job.killed, ("told", "doubt"), f"round {world.round}: {tid} is gone")
            del world.seen[tid]
