"""Starts real processes for tests and benchmarks: mesos-local and schedulers on loopback, in a folder of their own.

    with Cluster(agents=2) as c:
        c.rpc("createJob", description={...})
        c.scheduler.kill9()
        c.scheduler.start()

With schedulers=3 there are c.schedulers, a real ZooKeeper c.zk (zk=True: for a single scheduler, too; zk=3: an ensemble) and the other
functions go to whoever leads (c.leader()). With net=Network() (network.py) the schedulers "s0", "s1", ... reach each other and ZooKeeper,
"zk", only through that. With master_path the master is looked for in ZooKeeper.

$BUILD is the build to test (build/asan under `make test`). Everything that was started is stopped at the end; what the processes
wrote is printed when a test fails to start them.
"""
import ctypes
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

START_S = 60


def free_port():
    """Below those that connections get, which would otherwise take the port of a process between its end and its next start."""
    while True:
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the processes do
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def wait_until(condition, seconds, pause=0.05, what="condition"):
    """Polls until condition() is true; connection errors count as false."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, urllib.error.URLError, ValueError):
            pass
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(pause)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """One process that can be started again with the same arguments."""

    def __init__(self, name, argv, directory, env=None):
        self.name, self.argv, self.dir, self.env = name, argv, directory, env or {}
        self.log_path = os.path.join(directory, f"{name}.log")
        self.popen = None

    @property
    def pid(self):
        return self.popen.pid

    @property
    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def spawn(self, stdin=subprocess.DEVNULL):
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(self.argv, stdin=stdin, stdout=log, stderr=log,
                                          env=dict(os.environ, **self.env), preexec_fn=die_with_parent)

    def wait_ready(self, ready):
        def check():
            if self.popen.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.popen.returncode}:\n{self.log[-5000:]}")
            return ready()
        try:
            wait_until(check, START_S, pause=0.01, what=f"{self.name} is ready")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log[-5000:]}") from None

    def kill9(self):
        self.popen.kill()
        self.popen.wait()

    def stop(self, seconds=30):
        """SIGTERM; returns the exit status."""
        if self.popen is None or self.popen.poll() is not None:
            return self.popen and self.popen.returncode
        self.popen.terminate()
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"{self.name} did not stop on SIGTERM:\n{self.log[-5000:]}") from None


class Master(Process):
    def __init__(self, build, directory, port, agents, simulate, resources, flags):
        self.port = port
        argv = [f"{build}/mesos-local", "--ip=127.0.0.1", f"--port={port}", f"--agents={agents}",
                f"--work-dir={directory}/mesos"]
        if simulate:
            argv.append("--simulate")
        if resources:
            argv.append(f"--agent-resources={resources}")
        super().__init__("mesos-local", argv + flags, directory)

    def start(self):
        self.spawn()
        self.wait_ready(lambda: self.get("/health") is not None)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as r:
            return r.read()

    def post(self, path, body=None):
        data = json.dumps(body or {}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data=data, timeout=30) as r:
            return r.read()


class ZooKeeper(Process):
    """Debian's, with data that outlives kill9() and start(). quorum: the ports (peers', election's) of each of an ensemble's servers."""

    def __init__(self, directory, number=0, quorum=()):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        name = f"zookeeper{number or ''}"
        config, self.data = os.path.join(directory, f"{name}.cfg"), os.path.join(directory, f"{name}.data")
        os.makedirs(self.data)
        with open(os.path.join(self.data, "myid"), "w", encoding="utf-8") as f:
            f.write(str(number))
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"tickTime=200\ndataDir={self.data}\nclientPort={self.port}\n"
                    "clientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n"
                    "4lw.commands.whitelist=*\nmaxSessionTimeout=60000\ninitLimit=100\nsyncLimit=20\n")
            f.writelines(f"server.{i}=127.0.0.1:{a}:{b}\n" for i, (a, b) in enumerate(quorum, 1))
        super().__init__(name, ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
                                "/usr/share/java/zookeeper.jar",
                                "org.apache.zookeeper.server.quorum.QuorumPeerMain", config], directory)

    def ask(self, word):
        """The answer to a four-letter word."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
            s.sendall(word.encode())
            return b"".join(iter(lambda: s.recv(65536), b"")).decode()

    def serves(self):
        return "Mode: " in self.ask("srvr")

    def start(self, ready=True):
        self.spawn()
        if ready:
            self.wait_ready(self.serves)


class Ensemble:
    """Several ZooKeeper servers that are one."""

    def __init__(self, directory, n):
        ports = [(free_port(), free_port()) for _ in range(n)]
        self.servers = [ZooKeeper(directory, i + 1, ports) for i in range(n)]
        self.address = ",".join(s.address for s in self.servers)

    def start(self):
        for s in self.servers:
            s.start(ready=False)
        for s in self.servers:
            s.wait_ready(s.serves)

    def server_of(self, session):
        """The server that a session, in hexadecimal, is connected to."""
        return next((s for s in self.servers if s.popen.poll() is None and f"sid=0x{session}" in s.ask("cons")), None)


class Scheduler(Process):
    def __init__(self, build, directory, master, flags, env, number=""):
        self.http_port, self.libprocess_port = free_port(), free_port()
        argv = [f"{build}/aurora-scheduler", "-cluster_name=test", "-ip=127.0.0.1", "-hostname=127.0.0.1",
                f"-http_port={self.http_port}", f"-mesos_master_address={master}",
                f"-native_log_file_path={directory}/log{number}", f"-backup_dir={directory}/backups{number}"]
        super().__init__(f"aurora-scheduler{number}", argv + flags, directory,
                         dict({"LIBPROCESS_IP": "127.0.0.1", "LIBPROCESS_PORT": str(self.libprocess_port)}, **(env or {})))

    def behind(self, net, name):
        """Peers and masters reach it through a proxy from now on, which knows it by the port that it advertises."""
        port = net.proxy(self.libprocess_port, name)
        net.name(port, name)
        self.net_name, self.env["LIBPROCESS_ADVERTISE_PORT"] = name, str(port)

    def start(self, active=True):
        """Starts it and waits until it serves (with active: until it is registered with the master, too)."""
        self.spawn()
        self.wait_ready(lambda: self.get("/health") == b"OK\n" and (not active or self.var("framework_registered") == 1))

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=60) as r:
            return r.read()

    def request(self, method, path, body=None, headers=None, seconds=30):
        """An answer as it is: status, headers, body."""
        conn = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=seconds)
        try:
            conn.request(method, path, body, headers or {})
            r = conn.getresponse()
            return r.status, r.headers, r.read()
        finally:
            conn.close()

    def replica(self):
        return json.loads(self.get("/replica"))

    @property
    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def leads(self):
        try:
            return self.alive and self.request("GET", "/leaderhealth", seconds=2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def vars(self):
        return json.loads(self.get("/vars.json"))

    def var(self, name):
        return self.vars().get(name)

    def rpc(self, method, **args):
        """A call of /api/v1; the Response as a dict."""
        req = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/api/v1/{method}", data=json.dumps(args).encode(),
                                     headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(req, timeout=60) as r:
            return json.loads(r.read())


class Cluster:
    def __init__(self, build=None, agents=1, simulate=False, agent_resources=None, flags=(), master_flags=(), env=None,
                 start=True, schedulers=1, quorum=None, session_ms=2000, net=None, zk=None,
                 master_path=None):
        self.build = os.path.abspath(build or os.environ["BUILD"])
        self.dir = tempfile.mkdtemp(prefix="aurora-test-")
        port = free_port()
        self.master = Master(self.build, self.dir, port, agents, simulate, agent_resources, list(master_flags))
        zk = schedulers > 1 if zk is None else zk
        self.zk = None if not zk else ZooKeeper(self.dir) if zk is True else Ensemble(self.dir, zk)
        master = f"zk://{self.zk.address}{master_path}" if master_path else f"127.0.0.1:{port}"
        flags = list(flags)
        if self.zk:
            flags += [f"-zk_session_timeout={session_ms}ms", "-serverset_path=/aurora/scheduler",
                      "-native_log_zk_group_path=/aurora/log", f"-native_log_quorum_size={quorum or schedulers // 2 + 1}"]
        self.net, self.schedulers = net, []
        for i in range(schedulers):
            own = [f"-zk_endpoints={self.zk_endpoint(i)}"] if self.zk else []
            self.schedulers.append(Scheduler(self.build, self.dir, master, flags + own, env,
                                             str(i) if self.zk else ""))
            if net:
                self.schedulers[i].behind(net, f"s{i}")
        self.scheduler = self.schedulers[0]
        self.autostart = start

    def zk_endpoint(self, i):
        return f"127.0.0.1:{self.net.proxy(self.zk.port, 'zk', src=f's{i}')}" if self.net else self.zk.address

    def __enter__(self):
        try:
            if self.autostart:
                self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def start(self):
        self.master.start()
        if self.zk:
            self.zk.start()
        for s in self.schedulers:
            s.start(active=not self.zk)
        if self.zk:
            self.leader()
            self.wait_votes()

    def wait_votes(self, seconds=60):
        """Waits until every replica votes: before that a new log can't do without any of them."""
        for s in self.schedulers:
            wait_until(lambda s=s: s.replica()["votes"], seconds, what=f"{s.name} votes")

    def leader(self, seconds=60):
        """The scheduler that leads, once there is one; c.scheduler and the calls below mean it from now on."""
        self.scheduler = wait_until(lambda: next((s for s in self.schedulers if s.leads()), None), seconds, pause=0.02,
                                    what="a scheduler leads")
        return self.scheduler

    def followers(self):
        return [s for s in self.schedulers if s is not self.scheduler]

    def close(self):
        for p in (*self.schedulers, self.master, *getattr(self.zk, "servers", [self.zk])):
            if p is not None and p.popen is not None and p.popen.poll() is None:
                p.stop() if p is self.master else p.kill9()
        shutil.rmtree(self.dir, ignore_errors=True)

    def rpc(self, method, **args):
        return self.scheduler.rpc(method, **args)

    def tasks(self, **query):
        """The scheduled tasks of a query, as dicts."""
        answer = self.rpc("getTasksStatus", query=query)
        if answer["responseCode"] != "OK":
            raise AssertionError(answer)
        return answer["result"]["scheduleStatusResult"]["tasks"]

    def wait_statuses(self, expected, seconds=60, **query):
        """Waits until the sorted statuses of the query's tasks are the expected ones."""
        wait_until(lambda: sorted(t["status"] for t in self.tasks(**query)) == sorted(expected), seconds, what=str(expected))
