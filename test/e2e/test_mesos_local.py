"""mesos-local as a process: commands really run and end, output is readable, nothing is left behind; authentication, faults and
fail-over on the wire."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from peer import Peer, command_task, ports, ready_port

PROGRAM = os.path.join(os.environ["BUILD"], "mesos-local")
# Slow machines and sanitizers; nothing waits so long when all is well.
SECONDS = 30


def until(what, seconds=SECONDS):
    """Polls until it's true."""
    end = time.monotonic() + seconds
    while not (result := what()):
        if time.monotonic() > end:
            raise AssertionError("not within the time")
        time.sleep(0.01)
    return result


def alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


class Local(unittest.TestCase):
    FLAGS = ["--allocation-interval=50ms", "--agents=1", "--seed=1"]

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="mesos-local-test-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.process = None
        self.peers = []

    def tearDown(self):
        for p in self.peers:
            p.close()
        if self.process:
            self.stop()

    def start(self, *flags):
        self.process = subprocess.Popen([PROGRAM, *self.FLAGS, f"--work-dir={self.dir}/work", *flags],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = ready_port(self.process.stdout.readline())
        self.master = f"127.0.0.1:{self.port}"

    def stop(self):
        self.process.terminate()
        status = self.process.wait(SECONDS)
        self.process.stdout.close()
        self.process = None
        self.assertEqual(status, 0)

    def peer(self, pid_id="scheduler-1"):
        self.peers.append(Peer(self.master, pid_id))
        return self.peers[-1]

    def url(self, path, /, **query):
        return f"http://{self.master}{path}" + ("?" + urllib.parse.urlencode(query) if query else "")

    def get(self, path, /, **query):
        with urllib.request.urlopen(self.url(path, **query), timeout=SECONDS) as r:
            return r.read()

    def status(self, path, body=None, /, **query):
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(self.url(path, **query), data=data, timeout=SECONDS) as r:
                return r.status
        except urllib.error.HTTPError as e:
            with e:
                return e.code

    def control(self, path, /, **body):
        with urllib.request.urlopen(self.url("/control" + path), data=json.dumps(body).encode(), timeout=SECONDS) as r:
            return json.load(r)

    def state(self):
        return json.loads(self.get("/state"))

    def run_task(self, peer, command, task_id="t", **more):
        """Launches on the next offer; returns when it runs."""
        offer = peer.offer(lambda o: any(r["name"] == "cpus" for r in o["resources"]))
        peer.accept(offer, command_task(task_id, offer, command, **more))
        self.assertEqual(peer.update(task_id)["state"], "TASK_STARTING")
        self.assertEqual(peer.update(task_id)["state"], "TASK_RUNNING")
        return offer

    def output(self, task_id="t", name="stdout"):
        try:
            return self.get(f"/sandbox/{task_id}/{name}").decode()
        except urllib.error.HTTPError:
            return ""


class Commands(Local):
    def setUp(self):
        super().setUp()
        self.start()
        self.s = self.peer()
        self.s.register()

    def end(self, task_id="t"):
        s = self.s.update(task_id)
        return s["state"], s.get("message")

    def test_output_and_status(self):
        self.run_task(self.s, "echo hello; echo oh >&2; exit 3")
        self.assertEqual(self.end(), ("TASK_FAILED", "Command exited with status 3"))
        self.assertEqual(self.output(), "hello\n")
        self.assertEqual(self.output(name="stderr"), "oh\n")

    def test_success_and_environment(self):
        offer = self.s.offer()
        task = command_task("t", offer, "env; pwd", name="n")
        task["resources"].append(ports(31003, 31004))
        task["command"]["environment"] = dict(variables=[dict(name="OWN", value="x=y")])
        self.s.accept(offer, task)
        self.s.update("t"), self.s.update("t")
        self.assertEqual(self.end(), ("TASK_FINISHED", "Command exited with status 0"))
        lines = self.output().splitlines()
        env = dict(line.split("=", 1) for line in lines if "=" in line)
        self.assertEqual(env["MESOS_SANDBOX"], lines[-1])
        self.assertTrue(lines[-1].startswith(os.path.realpath(self.dir)))
        self.assertEqual((env["MESOS_TASK_ID"], env["OWN"], env["PORT0"], env["PORT1"], env["PORTS"]),
                         ("t", "x=y", "31003", "31004", "31003,31004"))
        self.assertEqual(env["MESOS_FRAMEWORK_ID"], self.s.framework_id)
        self.assertEqual(env["MESOS_SLAVE_ID"], offer["slave_id"]["value"])

    def test_arguments_without_shell(self):
        self.run_task(self.s, dict(shell=False, value="printf", arguments=["printf", "%s-", "a b", "$HOME"]))
        self.end()
        self.assertEqual(self.output(), "a b-$HOME-")

    def test_no_such_program(self):
        offer = self.s.offer()
        self.s.accept(offer, command_task("t", offer, dict(shell=False, value="/nonexistent")))
        self.assertEqual([self.end()[0] for _ in range(2)], ["TASK_STARTING", "TASK_RUNNING"])
        self.assertEqual(self.end(), ("TASK_FAILED", "Command exited with status 1"))
        self.assertIn("no such file", self.output(name="stderr"))

    def test_nothing_to_run(self):
        """The real command executor aborts."""
        offer = self.s.offer()
        self.s.accept(offer, command_task("t", offer, {}))
        self.assertEqual(self.s.update("t")["state"], "TASK_STARTING")
        s = self.s.update("t")
        self.assertEqual((s["state"], s["message"], s["reason"], s["source"]),
                         ("TASK_FAILED", "Executor terminated", "REASON_EXECUTOR_TERMINATED", "SOURCE_SLAVE"))

    def test_signal(self):
        self.run_task(self.s, "kill -9 $$")
        self.assertEqual(self.end(), ("TASK_FAILED", "Command terminated with signal Killed"))

    def test_kill(self):
        self.run_task(self.s, "sleep 1000")
        self.s.kill("t")
        self.assertEqual(self.end(), ("TASK_KILLED", "Command terminated with signal Terminated"))

    def test_kill_grace(self):
        self.run_task(self.s, "trap '' TERM; echo set; while :; do sleep 0.05; done",
                      kill_policy=dict(grace_period=dict(nanoseconds=300_000_000)))
        until(lambda: self.output() == "set\n")
        start = time.monotonic()
        self.s.kill("t")
        self.assertEqual(self.end(), ("TASK_KILLED", "Command terminated with signal Killed"))
        self.assertGreater(time.monotonic() - start, 0.29)

    def test_kill_may_shorten_the_grace(self):
        self.run_task(self.s, "trap '' TERM; echo set; while :; do sleep 0.05; done",
                      kill_policy=dict(grace_period=dict(nanoseconds=3600 * 10**9)))
        until(lambda: self.output() == "set\n")
        self.s.kill("t")
        self.s.kill("t", kill_policy=dict(grace_period=dict(nanoseconds=7200 * 10**9)))
        self.s.kill("t", kill_policy=dict(grace_period=dict(nanoseconds=1)))
        self.assertEqual(self.end(), ("TASK_KILLED", "Command terminated with signal Killed"))

    def test_descendants_go_with_the_task(self):
        """Also those that have made a process group of their own."""
        self.run_task(self.s, "sleep 1000 & echo $!; setsid -f true; set -m; sleep 1001 & echo $!; echo end; exec sleep 1002")
        until(lambda: self.output().endswith("end\n"))
        pids = [int(w) for w in self.output().split() if w.isdigit()]
        self.assertEqual([alive(p) for p in pids], [True, True])
        self.s.kill("t")
        self.end()
        until(lambda: not any(alive(p) for p in pids))

    def test_teardown_kills(self):
        self.run_task(self.s, "echo $$; exec sleep 1000")
        pid = int(until(self.output))
        self.s.call("TEARDOWN")
        until(lambda: not alive(pid))
        self.assertEqual(until(lambda: not self.state()["tasks"]), True)

    def test_nothing_outlives_the_program(self):
        for how in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            with self.subTest(how=how):
                if self.process is None:
                    self.start()
                    self.s = self.peer()
                    self.s.register()
                task = f"t{how}"
                self.run_task(self.s, "trap '' TERM INT; sleep 1000 & echo $! $$; wait; sleep 1001", task)
                pids = [int(w) for w in until(lambda: self.output(task)).split()]
                bystander = subprocess.Popen(["sleep", "1000"])
                self.process.send_signal(how)
                status = self.process.wait(SECONDS)
                self.assertEqual(status, -9 if how == signal.SIGKILL else 0)
                self.process.stdout.close()
                self.process = None
                until(lambda: not any(alive(p) for p in pids))
                self.assertTrue(alive(bystander.pid))
                bystander.kill()
                bystander.wait()

    def test_executor_task_is_simulated(self):
        offer = self.s.offer()
        task = command_task("t", offer, "")
        task["executor"] = dict(executor_id={"value": "e"}, command=task.pop("command"), name="AuroraExecutor")
        self.s.accept(offer, task)
        self.assertEqual(self.s.update("t")["state"], "TASK_STARTING")
        self.assertEqual(self.s.update("t")["state"], "TASK_RUNNING")
        self.control("/tasks/update", task="t", state="TASK_FAILED", message="as told", reason="REASON_CONTAINER_LIMITATION")
        s = self.s.update("t")
        self.assertEqual((s["state"], s["message"], s["reason"]), ("TASK_FAILED", "as told", "REASON_CONTAINER_LIMITATION"))
        self.assertEqual(self.s.expect("ExitedExecutorMessage")["executor_id"]["value"], "e")


class Files(Local):
    def test_reading(self):
        self.start()
        s = self.peer()
        s.register()
        self.run_task(s, "printf 'abc\\377def'; ln -s /etc/passwd link; mkfifo fifo; mkdir sub; ln -s / slash; exec sleep 1000")
        until(lambda: os.path.lexists(self.state()["tasks"][0]["sandbox"] + "/slash"))
        box = self.state()["tasks"][0]["sandbox"]
        read = lambda **q: json.loads(self.get("/files/read", **q))
        self.assertEqual(read(path=f"{box}/stdout"), {"data": "", "offset": 7})  # offset -1: the size
        self.assertEqual(read(path=f"{box}/stdout", offset=0), {"data": "abc\ufffddef", "offset": 0})
        self.assertEqual(read(path=f"{box}/stdout", offset=1, length=2), {"data": "bc", "offset": 1})
        self.assertEqual(read(path=f"{box}/stdout", offset=100), {"data": "", "offset": 100})
        relative = os.path.relpath(box, os.path.realpath(self.dir + "/work"))
        self.assertEqual(self.get("/files/download", path=f"{relative}/stdout"), b"abc\xffdef")
        names = {os.path.basename(e["path"]) for e in json.loads(self.get("/files/browse", path=box))}
        self.assertEqual(names, {"stdout", "stderr", "link", "fifo", "sub", "slash"})
        for path, want in [("/etc/passwd", 403), (f"{box}/link", 403), (f"{box}/slash/etc/passwd", 403), (f"{box}/fifo", 403),
                           (f"{relative}/../../../../../../../../../../etc/passwd", 404), ("../../../../etc/passwd", 404),
                           ("..", 403), (f"{box}/nothing", 404), (f"{box}/stdout\0x", 403), ("", 400)]:
            with self.subTest(path=path):
                self.assertIn(self.status("/files/read", path=path, offset=0), (want, 403))
                self.assertIn(self.status("/files/download", path=path), (want, 403))
        self.assertEqual(self.status("/files/read", path=f"{box}/sub", offset=0), 400)
        self.assertEqual(self.status("/files/read", path=f"{box}/stdout", offset=-2), 400)
        self.assertEqual(self.status("/files/read", path=f"{box}/stdout", offset=0, length="x"), 400)
        self.assertEqual(self.status("/sandbox/t/../../../../../../../../../etc/passwd"), 404)
        self.assertEqual(self.status("/sandbox/t/link"), 403)
        self.assertEqual(self.status("/sandbox/*/stdout"), 404)
        self.assertEqual(self.status("/sandbox/t/stdout"), 200)

    def test_long_output(self):
        self.start()
        s = self.peer()
        s.register()
        self.run_task(s, "head -c 200000 /dev/zero | tr '\\0' x")
        self.assertEqual(s.update("t")["state"], "TASK_FINISHED")
        self.assertEqual(len(self.get("/sandbox/t/stdout")), 200000)
        path = next(os.path.join(d, "stdout") for d, _, f in os.walk(self.dir) if "stdout" in f)
        self.assertEqual(len(json.loads(self.get("/files/read", path=path, offset=0))["data"]), 65536)
        self.assertEqual(len(json.loads(self.get("/files/read", path=path, offset=150000))["data"]), 50000)

    def test_bad_requests(self):
        self.start()
        self.assertEqual(self.get("/health"), b"")
        self.assertEqual(self.status("/nothing"), 404)
        self.assertEqual(self.status("/state", {}), 405)
        self.assertEqual(self.status("/state", **{"from": "x"}), 400)
        self.assertEqual(self.status("/control/agents/lose", {}), 404)
        self.assertEqual(self.status("/control/agents/lose", {"agent": "S0", "how": "x"}), 400)
        self.assertEqual(self.status("/control/agents/return", {"agent": "S0"}), 409)
        self.assertEqual(self.status("/control/agents/add", {"n": 0}), 400)
        self.assertEqual(self.status("/control/agents/add", {"resources": "nonsense"}), 400)
        self.assertEqual(self.status("/control/faults", {"action": "x", "direction": "in", "message": "*"}), 400)
        self.assertEqual(self.status("/control/tasks/update", {"task": "none", "state": "TASK_LOST"}), 404)
        self.assertEqual(self.status("/control/frameworks/disconnect", {}), 404)
        request = urllib.request.Request(self.url("/control/faults"), data=b"{nonsense")
        with self.assertRaises(urllib.error.HTTPError) as e:
            urllib.request.urlopen(request, timeout=SECONDS)
        self.assertEqual(e.exception.code, 400)
        e.exception.close()
        for _ in range(64):
            self.control("/faults", action="drop", direction="in", message="Never")
        self.assertEqual(self.status("/control/faults", {"action": "drop", "direction": "in", "message": "Never"}), 409)


class Network(Local):
    def start_simulated(self, *flags):
        self.start("--simulate", *flags)
        s = self.peer()
        s.register()
        return s

    def test_authentication(self):
        credentials = self.dir + "/credentials"
        for text in ("aurora s3cret\nother x\n", '{"credentials":[{"principal":"aurora","secret":"s3cret"}]}'):
            with open(credentials, "w") as f:
                f.write(text)
            self.start("--simulate", f"--credentials={credentials}", "--authenticate")
            s = self.peer()
            s.subscribe()
            self.assertEqual(s.expect("FrameworkErrorMessage")["message"], f"Framework at scheduler-1@{s.address} is not authenticated")
            self.assertEqual(s.authenticate("aurora", "wrong"), "AuthenticationFailedMessage")
            self.assertEqual(s.authenticate("nobody", "s3cret", "a(2)"), "AuthenticationFailedMessage")
            s.subscribe()
            s.expect("FrameworkErrorMessage")
            self.assertEqual(s.authenticate("aurora", "s3cret", "a(3)"), "AuthenticationCompletedMessage")
            s.register(principal="aurora")
            self.stop()

    def test_no_credentials(self):
        self.start("--simulate")
        self.assertEqual(self.peer().authenticate("aurora", "x"), "AuthenticationErrorMessage")

    def test_broken_link(self):
        s = self.start_simulated()
        s.offer()
        s.drop_accepted()
        self.assertEqual(s.expect("FrameworkErrorMessage")["message"], "Framework disconnected")
        s.expect("RescindResourceOfferMessage")
        s.call("RECONCILE", reconcile={})
        self.assertEqual(s.expect("FrameworkErrorMessage")["message"], "Framework disconnected")
        self.assertEqual(s.register()["_name"], "FrameworkReregisteredMessage")
        s.offer()

    def test_failover(self):
        s = self.start_simulated()
        offer = self.run_task(s, "sim:")
        old = self.state()["id"]
        self.control("/master/failover", down_ms=50, agents_after_ms=300)
        s.expect("CLOSED")

        def answered():
            try:
                s.subscribe()
                return s.registered(seconds=1)
            except (OSError, AssertionError):
                return False
        until(answered)
        self.assertNotEqual(self.state()["id"], old)
        self.assertEqual(s.framework_id.rsplit("-", 1)[0], old)
        s.call("RECONCILE", reconcile=dict(tasks=[dict(task_id={"value": "t"}, slave_id=offer["slave_id"])]))
        until(lambda: self.state()["totals"]["agents_registered"])
        s.call("RECONCILE", reconcile=dict(tasks=[dict(task_id={"value": "t"}, slave_id=offer["slave_id"])]))
        self.assertEqual(s.update("t")["state"], "TASK_RUNNING")
        s.kill("t")
        self.assertEqual(s.update("t", "TASK_KILLED")["state"], "TASK_KILLED")

    def test_faults(self):
        s = self.start_simulated()
        fault = lambda **f: self.control("/faults", **f)
        fault(action="drop", direction="in", message="RECONCILE")
        s.call("RECONCILE", reconcile=dict(tasks=[dict(task_id={"value": "a"})]))
        s.call("RECONCILE", reconcile=dict(tasks=[dict(task_id={"value": "b"})]))
        self.assertEqual(s.update()["task_id"]["value"], "b")
        fault(action="duplicate", direction="out", message="StatusUpdateMessage", skip=1)
        s.call("RECONCILE", reconcile=dict(tasks=[dict(task_id={"value": i}) for i in "cde"]))
        self.assertEqual([s.update()["task_id"]["value"] for _ in range(4)], ["c", "d", "d", "e"])
        fault(action="reorder", direction="out", message="StatusUpdateMessage")
        s.call("RECONCILE", reconcile=dict(tasks=[dict(task_id={"value": i}) for i in "fgh"]))
        self.assertEqual([s.update()["task_id"]["value"] for _ in range(3)], ["g", "f", "h"])
        fault(action="delay", direction="out", message="*", delay_ms=200)
        s.call("RECONCILE", reconcile=dict(tasks=[dict(task_id={"value": i}) for i in "ij"]))
        self.assertEqual([s.update()["task_id"]["value"] for _ in range(2)], ["j", "i"])
        fault(action="drop", direction="in", message="*", count=-1)
        s.call("RECONCILE", reconcile=dict(tasks=[dict(task_id={"value": "k"})]))
        until(lambda: json.loads(self.get("/control/faults"))[-1]["hits"] == 1)
        self.control("/faults/clear")
        s.call("RECONCILE", reconcile=dict(tasks=[dict(task_id={"value": "l"})]))
        self.assertEqual(s.update()["task_id"]["value"], "l")

    def test_agents_and_offers(self):
        s = self.start_simulated()
        first = s.offer()
        self.control("/agents/add", n=2, resources="cpus:8;mem:64", attributes="rack:x%d", hostname="new%d")
        m = s.expect("ResourceOffersMessage")
        self.assertEqual({o["hostname"] for o in m["offers"]}, {"new2", "new3"})
        self.assertEqual(m["offers"][0]["attributes"][0]["text"]["value"], "x2")
        self.assertEqual(self.control("/offers/rescind", offer=first["id"]["value"]), {"rescinded": 1})
        self.assertEqual(s.expect("RescindResourceOfferMessage")["offer_id"], first["id"])
        self.control("/agents/lose", agent="S0")
        self.assertEqual(s.expect("LostSlaveMessage")["slave_id"], first["slave_id"])
        self.control("/agents/return", agent="S0")
        s.offer(lambda o: o["slave_id"] == first["slave_id"])
        self.control("/frameworks/disconnect", framework=s.framework_id)
        self.assertEqual(s.expect("FrameworkErrorMessage")["message"], "Framework disconnected")

    def test_many(self):
        """Thousands of tasks on thousands of agents, each acknowledged."""
        s = self.start_simulated("--agents=1000", "--script=lifetime=-")
        left, tasks = 1000, 0
        while left:
            for o in s.expect("ResourceOffersMessage")["offers"]:
                s.accept(o, *[command_task(f"t{tasks + i}", o, "x") for i in range(5)], refuse=3600.0)
                tasks, left = tasks + 5, left - 1
        running = 0
        while running < tasks:
            running += s.update()["state"] == "TASK_RUNNING"
        self.assertEqual(until(lambda: self.state()["totals"]["acknowledged"] == 2 * tasks), True)


class CommandLine(unittest.TestCase):
    def run_it(self, *flags):
        return subprocess.run([PROGRAM, *flags], capture_output=True, text=True, timeout=SECONDS)

    def test_help(self):
        p = self.run_it("--help")
        self.assertEqual(p.returncode, 0)
        self.assertIn("--agent-resources", p.stdout)

    def test_errors(self):
        for flags, text in [(["--nonsense"], "unknown option --nonsense"), (["stray"], "'stray' is not an option"),
                            (["--port=70000"], "--port: '70000' is not a value for it"), (["--port"], "--port needs a value"),
                            (["--agents=-1"], "--agents: '-1' is not a value for it"),
                            (["--allocation-interval=0"], "--allocation-interval must be more than 0"),
                            (["--agent-resources=cpus"], "cannot parse resource 'cpus'"),
                            (["--script=lifetime=x"], "cannot parse 'lifetime=x' of a simulation"),
                            (["--authenticate"], "--authenticate needs --credentials"),
                            (["--credentials=/nonexistent"], "cannot read /nonexistent"),
                            (["--ip=1.2.3"], "cannot listen on 1.2.3:0: invalid argument"),
                            (["--simulate=maybe"], "--simulate: 'maybe' is not a value for it")]:
            with self.subTest(flags=flags):
                p = self.run_it(*flags)
                self.assertEqual((p.returncode, p.stderr), (1, f"mesos-local: {text}\n"))

    def test_port_in_use(self):
        first = subprocess.Popen([PROGRAM, "--simulate"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        port = ready_port(first.stdout.readline())
        p = self.run_it(f"--port={port}")
        self.assertEqual((p.returncode, p.stderr), (1, f"mesos-local: cannot listen on 127.0.0.1:{port}: in use\n"))
        first.terminate()
        self.assertEqual(first.wait(SECONDS), 0)
        first.stdout.close()


if __name__ == "__main__":
    unittest.main()
