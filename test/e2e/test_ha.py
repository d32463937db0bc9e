"""Three schedulers, a real ZooKeeper and one leader: whatever is killed, frozen or lost, one leads and nothing acknowledged is lost.

The clients and the comparison: test/lib/checker.py. SEED replays the load's random choices.
"""
import os
import random
import signal
import socket
import subprocess
import threading
import unittest

from checker import SEED, Client, Job, World, check
from cluster import Cluster, wait_until

LOAD_S = (0.3, 0.8)  # how long the clients load it before something happens
CLIENTS = 3
FLAGS = ["-history_max_per_job_threshold=100000", "-dlog_snapshot_interval=2secs", "-initial_task_kill_retry_interval=1secs",
         "-reconciliation_initial_delay=1secs"]


class LeaderTest(unittest.TestCase):
    """Tests share a cluster: each leaves three schedulers behind of which one leads."""

    @classmethod
    def setUpClass(cls):
        print(f"SEED={SEED} BUILD=$BUILD python3 {__file__}", flush=True)
        cls.rng, cls.world = random.Random(SEED), World()
        cls.c = Cluster(agents=20, simulate=True, schedulers=3, flags=FLAGS)
        try:
            cls.c.start()
        except BaseException:
            cls.c.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.c.close()

    def load(self):
        """Clients at the leader, and a while of their work."""
        self.world.round += 1
        clients = [Client(i, self.c.scheduler.http_port, self.world, may_be_deposed=True) for i in range(CLIENTS)]
        for k in clients:
            k.start()
        threading.Event().wait(self.rng.uniform(*LOAD_S))
        return clients

    def join(self, clients):
        for k in clients:
            k.join(60)
            self.assertFalse(k.is_alive())
            self.assertIsNone(k.error)

    def restart(self, scheduler):
        """It is a standby again, and has caught up."""
        scheduler.start(active=False)
        self.c.wait_votes()
        wait_until(lambda: scheduler.replica()["lag"] <= 1, 60, what="the standby has caught up")

    def test_killed_leader(self):
        for _ in range(3):
            clients, dead = self.load(), self.c.scheduler
            dead.kill9()
            self.join(clients)
            self.assertIsNot(self.c.leader(), dead)
            check(self, self.c, self.world)
            self.restart(dead)
        self.assertGreater(sum(j.created == "told" for _, j in self.world.jobs.values()), 3)

    def ask_frozen(self, frozen):
        """Freezes it and sends a read, which it finds first when it wakes up. Gives a function for the answer, b"" if there is none."""
        read = (b"POST /api/v1/getRoleSummary HTTP/1.1\r\nHost: x\r\nBypass-Leader-Redirect: true\r\nContent-Length: 2\r\n"
                b"%s\r\n{}")
        s = socket.create_connection(("127.0.0.1", frozen.http_port), timeout=60)
        s.sendall(read % b"")
        self.assertTrue(s.recv(1))  # the connection is known
        os.kill(frozen.pid, signal.SIGSTOP)
        s.setblocking(False)
        try:
            while s.recv(65536):
                pass
        except BlockingIOError:
            s.settimeout(60)
        s.sendall(read % b"Connection: close\r\n")

        def answer():
            out = b""
            with s:
                try:
                    while part := s.recv(65536):
                        out += part
                except ConnectionResetError:
                    pass
            return out
        return answer

    def test_frozen_leader(self):
        clients, frozen = self.load(), self.c.scheduler
        late, others = self.ask_frozen(frozen), self.c.followers()
        self.c.scheduler = wait_until(lambda: next((s for s in others if s.leads()), None), 60, what="another one leads")
        os.kill(frozen.pid, signal.SIGCONT)
        self.assertNotIn(b'"OK"', late())
        self.assertIn(frozen.popen.wait(30), (0, 1))  # 1: a write was refused before ZooKeeper said that the session is over
        self.join(clients)
        check(self, self.c, self.world)
        self.restart(frozen)

    def test_killed_follower(self):
        clients, follower, leader = self.load(), self.c.followers()[0], self.c.scheduler
        follower.kill9()
        self.join_later(clients)
        self.assertTrue(leader.leads())
        check(self, self.c, self.world)
        self.restart(follower)

    def join_later(self, clients):
        """The load goes on for a while, then ends by itself."""
        threading.Event().wait(self.rng.uniform(*LOAD_S))
        for k in clients:
            k.stop = True
        self.join(clients)

    def test_followers_send_to_the_leader(self):
        base = f"http://127.0.0.1:{self.c.scheduler.http_port}"
        for s in self.c.followers():
            wait_until(lambda s=s: s.request("GET", "/leaderhealth")[0] == 503, 30, what="the follower knows the leader")
            status, headers, body = s.request("POST", "/api/v1/getTasksStatus?a=%20b", "{}")
            self.assertEqual((status, headers["Location"], body), (307, f"{base}/api/v1/getTasksStatus?a=%20b", b""))
            status, headers, _ = s.request("GET", "/scheduler/www%2Fx")
            self.assertEqual((status, headers["Location"]), (307, f"{base}/scheduler/www%2Fx"))
            self.assertIn(b"Another instance is the leading scheduler.", s.request("GET", "/leaderhealth")[2])
            answer = s.request("POST", "/api/v1/getTasksStatus", '{"query":{}}', {"Bypass-Leader-Redirect": "true"})
            self.assertIn(b"ERROR_TRANSIENT", answer[2])
            self.assertEqual(s.request("GET", "/state", headers={"bypass-leader-redirect": ""})[0], 503)
            self.assertEqual(s.request("GET", "/vars")[0], 200)
            self.assertEqual(s.var("zk_connection_state_CONNECTED"), 1)
            self.assertEqual(s.replica()["state"], "STORAGE_PREPARED")

    def test_lost_quorum(self):
        """A leader that can't write ends, rather than answer; the next one begins when there are enough again."""
        leader, followers = self.c.scheduler, self.c.followers()
        for s in followers:
            s.kill9()
        clients = self.load()
        self.assertEqual(leader.popen.wait(60), 1)
        self.join(clients)
        for s in self.c.schedulers:
            s.start(active=False)
        self.c.leader()
        self.c.wait_votes()
        check(self, self.c, self.world)


class ZooKeeperTest(unittest.TestCase):
    def test_a_short_loss_costs_nothing(self):
        with Cluster(schedulers=3, simulate=True, session_ms=20000) as c:
            leader = c.scheduler
            c.zk.kill9()
            wait_until(lambda: leader.var("zk_connection_state_SUSPENDED") == 1, 10, what="the leader notices")
            self.assertTrue(leader.leads())
            world = World()
            job = type("Job", (), {"name": "meanwhile", "instances": 1})
            self.assertEqual(c.rpc("createJob", description=world.description(job))["responseCode"], "OK")
            c.zk.start()
            wait_until(lambda: leader.var("zk_connection_state_RECONNECTED") == 1, 20, what="the leader is back")
            self.assertTrue(leader.leads())
            self.assertEqual(len(c.tasks(jobName="meanwhile")), 1)

    def test_no_zookeeper_no_leader(self):
        c = Cluster(schedulers=2, quorum=2)
        try:
            s = c.scheduler
            s.start(active=False)
            status, headers, body = s.request("GET", "/state")
            self.assertEqual(status, 503)
            self.assertIn("text/html", headers["Content-Type"])
            self.assertIn(b"No Leader Found", body)
            self.assertEqual(s.request("GET", "/leaderhealth")[0], 502)
            self.assertEqual(s.stop(), 0)
        finally:
            c.close()


class HeldTest(unittest.TestCase):
    """What is not on a quorum's disks is not told: neither the answer of a call nor a page that shows its effect."""

    def get(self, path, seconds):
        """The page; None if it has not come by then."""
        try:
            return self.c.scheduler.request("GET", path, seconds=seconds)[2].decode()
        except TimeoutError:
            return None

    def test_pages_wait_like_answers(self):
        with Cluster(schedulers=3, session_ms=20000, flags=["-native_log_write_timeout=60secs"]) as self.c:
            self.assertIsNotNone(self.get("/pendingtasks", 30))
            for f in self.c.followers():
                os.kill(f.pid, signal.SIGSTOP)
            try:
                wanted = World().description(Job("held", 1))
                job = threading.Thread(target=self.c.rpc, args=["createJob"], kwargs={"description": wanted})
                job.start()
                wait_until(lambda: self.c.scheduler.var("pipeline_held_commands"), 30, what="the call waits")
                self.assertEqual([self.get(p, 0.3) for p in ("/pendingtasks", "/state", "/agents")], [None] * 3)
            finally:
                for f in self.c.followers():
                    os.kill(f.pid, signal.SIGCONT)
            job.join(60)
            self.assertIn("taskConfigs", self.get("/state", 30))


class FlagsTest(unittest.TestCase):
    def test_wrong_paths(self):
        required = ["-cluster_name=c", "-native_log_file_path=/nonexistent/log", "-mesos_master_address=h:1"]
        for flags, text in ((["-zk_endpoints=h:1"], "needs -serverset_path"),
                            (["-zk_endpoints=h:1", "-serverset_path=a"], "not of the form /name/name"),
                            (["-native_log_quorum_size=2"], "needs -zk_endpoints")):
            p = subprocess.run([os.environ["BUILD"] + "/aurora-scheduler", *required, *flags], capture_output=True, timeout=60)
            self.assertEqual(p.returncode, 1)
            self.assertIn(text, p.stderr.decode())


if __name__ == "__main__":
    unittest.main()
