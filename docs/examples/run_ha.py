"""`make run-ha`: three schedulers, a ZooKeeper and a local Mesos on loopback; the leader is killed under load.

Submits docs/examples/hello.json and keeps creating and killing jobs, then kills the leading scheduler (kill -9) and prints how long it
took until the next one answered its first write, and how much of that was ZooKeeper's session time-out. The killed one is started
again; everything stays up until Ctrl-C, which stops what was started here and nothing else. Each run begins with an empty folder.
"""
import argparse
import datetime
import http.client
import json
import os
import re
import shutil
import signal
import sys
import threading
import time

from run import Run, get, port_or_free, say

SCHEDULERS, QUORUM, SESSION_MS = 3, 2, 3000
LOADERS, LOAD_S = 4, 3
ZK_CONFIG = """tickTime=200
dataDir={folder}/zookeeper
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=ruok
"""


def call(port, method, **args):
    """A call of the RPC at one scheduler; its answer, or None: it has none, or sends us elsewhere."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        conn.request("POST", f"/api/v1/{method}", json.dumps(args), {"Content-Type": "application/json"})
        r = conn.getresponse()
        body = r.read()
        return json.loads(body) if r.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        conn.close()


class Load(threading.Thread):
    """Creates a job and kills it, at whichever scheduler takes it, again and again."""
    count, first_after, killed_at = 0, None, None  # of all; times are time.time()
    lock, done = threading.Lock(), threading.Event()

    def __init__(self, number, ports):
        super().__init__(daemon=True)
        self.number, self.ports, self.at = number, ports, 0

    def write(self, method, **args):
        """Until it is answered with OK; False at the end of the load."""
        while not Load.done.is_set():
            began = time.time()
            answer = call(self.ports[self.at], method, **args)
            if answer and answer["responseCode"] in ("OK", "INVALID_REQUEST"):  # the latter: done before, without an answer
                with Load.lock:
                    Load.count += 1
                    if Load.killed_at and not Load.first_after and began > Load.killed_at:
                        Load.first_after = time.time()
                return True
            self.at = (self.at + 1) % len(self.ports)
            Load.done.wait(0.002)
        return False

    def run(self):
        n, going = 0, True
        while going:
            n += 1
            key = {"role": "www", "environment": "test", "name": f"load-{self.number}-{n}"}
            task = {"job": key, "owner": {"user": "www"}, "isService": True,
                    "resources": [{"numCpus": 0.01}, {"ramMb": 1}, {"diskMb": 1}],
                    "executorConfig": {"name": "CommandExecutor", "data": "sleep 3600"}}
            going = (self.write("createJob", description={"key": key, "owner": {"user": "www"}, "instanceCount": 1,
                                                          "taskConfig": task})
                     and self.write("killTasks", job=key))


class RunHa(Run):
    def __init__(self, build):
        super().__init__(build)
        self.folder = os.path.join(self.build, "run-ha")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.zk = port_or_free(2181)
        self.ports, self.schedulers = [], []

    def start_zookeeper(self):
        config = os.path.join(self.folder, "zoo.cfg")
        with open(config, "w", encoding="utf-8") as f:
            f.write(ZK_CONFIG.format(folder=self.folder, port=self.zk))
        self.start("zookeeper", ["java", "-Xmx128m", "-XX:+UseSerialGC", "-cp", "/usr/share/java/zookeeper.jar",
                                 "org.apache.zookeeper.server.quorum.QuorumPeerMain", config])

    def start_scheduler(self, i):
        return self.start(f"scheduler-{i}", [
            f"{self.build}/aurora-scheduler", "-cluster_name=local", "-ip=127.0.0.1", "-hostname=127.0.0.1",
            f"-http_port={self.ports[i]}", f"-mesos_master_address=127.0.0.1:{self.mesos}",
            f"-zk_endpoints=127.0.0.1:{self.zk}", f"-zk_session_timeout={SESSION_MS}ms", "-serverset_path=/aurora/scheduler",
            "-native_log_zk_group_path=/aurora/replicated-log", f"-native_log_quorum_size={QUORUM}",
            f"-native_log_file_path={self.folder}/log-{i}", f"-backup_dir={self.folder}/backups-{i}"], {"LIBPROCESS_IP": "127.0.0.1"})

    def start_all(self):
        self.start_zookeeper()
        self.start("mesos-local", [f"{self.build}/mesos-local", "--ip=127.0.0.1", f"--port={self.mesos}", "--agents=2",
                                   f"--work-dir={self.folder}/mesos"])
        self.wait_for("the master answers", lambda: get(self.mesos, "/health") is not None)
        for i in range(SCHEDULERS):
            self.ports.append(port_or_free(8081 + i))
            self.schedulers.append(self.start_scheduler(i))
        self.http = self.ports[self.wait_leader()]
        self.wait_for("all replicas vote", lambda: all(json.loads(get(p, "/replica"))["votes"] for p in self.ports))

    def wait_leader(self, but=None):
        def leader():
            for i, p in enumerate(self.schedulers):
                if i != but and p.popen.poll() is None:
                    try:
                        get(self.ports[i], "/leaderhealth")
                        return str(i)
                    except OSError:
                        pass
            return None
        return int(self.wait_for("a scheduler leads", leader))

    def print_cluster(self, leader):
        say()
        for i, port in enumerate(self.ports):
            say(f"  scheduler {i}  http://127.0.0.1:{port}/  {'leads' if i == leader else 'follows'}")

    def fail_over(self, leader):
        """Kills the leader under load; returns the number of the next one."""
        loaders = [Load(i, self.ports) for i in range(LOADERS)]
        for t in loaders:
            t.start()
        time.sleep(LOAD_S)
        say(f"\nload: {Load.count} writes in {LOAD_S} s; kill -9 of scheduler {leader} (pid {self.schedulers[leader].popen.pid})")
        dead = self.schedulers[leader]
        self.processes.remove(dead)
        Load.killed_at = time.time()
        dead.popen.kill()
        dead.popen.wait()
        self.wait_for("a write is answered", lambda: Load.first_after)
        took = (Load.first_after - Load.killed_at) * 1000
        following = self.wait_leader(but=leader)
        noticed = (self.elected_at(following) - Load.killed_at) * 1000
        Load.done.set()
        for t in loaders:
            t.join()
        say(f"fail-over: {took:.0f} ms, of which {noticed:.0f} ms until ZooKeeper had given up on the dead one's session "
            f"(-zk_session_timeout={SESSION_MS}ms) and {took - noticed:.0f} ms until the next one answered its first write")
        return following

    def elected_at(self, i):
        """When its log says that it was elected, as time.time()."""
        with open(self.schedulers[i].log, encoding="utf-8") as f:
            stamp = re.findall(r"^(\S+)Z INFO lifecycle state=LEADER_AWAITING_REGISTRATION", f.read(), re.M)[-1]
        return datetime.datetime.fromisoformat(stamp + "+00:00").timestamp()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--build", default="build")
    ap.add_argument("--once", action="store_true", help="end behind the fail-over")
    a = ap.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell has it ignored
    run = RunHa(a.build)
    try:
        run.start_all()
        first = run.ports.index(run.http)
        run.print_cluster(first)
        run.submit()
        task_id = run.follow()
        second = run.fail_over(first)
        run.http = run.ports[second]
        run.schedulers[first] = run.start_scheduler(first)
        run.print_cluster(second)
        say("\nThe job of before, as the new leader tells:")
        run.follow()
        run.print_urls(task_id)
        say("Ctrl-C stops everything.")
        while not a.once:
            time.sleep(0.5)
            run.check()
    except KeyboardInterrupt:
        pass
    finally:
        Load.done.set()
        say("\nstopping")
        run.stop_all()


if __name__ == "__main__":
    main()
