"""Three or five schedulers under load whose network, ZooKeeper, disks and processes fail: what was acknowledged stays, tasks go on running, never
do two write at once, and once it is healed one leads again.

The schedulers reach each other and ZooKeeper through test/lib/network.py, and clients that go on through everything keep account
(test/lib/checker.py). What ends is started again as a supervisor would. SEED replays the load's random choices. test_ha.py has the plain
kills.
"""
import json
import os
import random
import re
import shutil
import signal
import threading
import unittest

from checker import SEED, Roamer, World, check, check_one_writer
from cluster import Cluster, wait_until
from network import Network, both

CLIENTS = 4
SESSION_MS = 3000
DEADLINE_S = 60
STEADY = 5  # tasks that run from the beginning to the end
FLAGS = ["-history_max_per_job_threshold=100000", "-dlog_snapshot_interval=2secs", "-initial_task_kill_retry_interval=1secs",
         "-reconciliation_initial_delay=1secs", "-native_log_write_timeout=2secs"]


class Faulty(unittest.TestCase):
    """Tests of a class share a cluster: each leaves all schedulers behind, of which one leads."""
    SCHEDULERS = 3

    @classmethod
    def setUpClass(cls):
        print(f"SEED={SEED} BUILD=$BUILD python3 {__file__}", flush=True)
        cls.rng, cls.world, cls.net = random.Random(SEED), World(), Network()
        cls.addClassCleanup(cls.net.close)
        cls.c = Cluster(agents=20, simulate=True, schedulers=cls.SCHEDULERS, flags=FLAGS, session_ms=SESSION_MS, net=cls.net)
        cls.addClassCleanup(cls.c.close)
        cls.c.start()
        cls.steady = cls.make_steady()

    @classmethod
    def tearDownClass(cls):
        writes = [n for _, _, n in cls.world.acknowledged.values()]
        print(f"{sum(writes)} acknowledged writes by {len(writes)} leaders", flush=True)

    @classmethod
    def make_steady(cls):
        key = {"role": "ops", "environment": "prod", "name": "steady"}
        answer = cls.c.rpc("createJob", description={
            "key": key, "owner": {"user": "ops"}, "instanceCount": STEADY,
            "taskConfig": {"job": key, "owner": {"user": "ops"}, "isService": True, "executorConfig":
                           {"name": "CommandExecutor", "data": "true"},
                           "resources": [{"numCpus": 0.01}, {"ramMb": 1}, {"diskMb": 1}]}})
        assert answer["responseCode"] == "OK", answer
        cls.c.wait_statuses(["RUNNING"] * STEADY, role="ops")
        return {t["assignedTask"]["taskId"] for t in cls.c.tasks(role="ops")}

    def setUp(self):
        self.world.round += 1
        self.leader = self.c.leader()
        self.followers = self.c.followers()
        self.rng.shuffle(self.followers)
        self.marks = {s: len(s.log) for s in self.c.schedulers}
        self.pids = {s: s.pid for s in self.c.schedulers}
        self.clients = [Roamer(i, self.c.schedulers, self.world) for i in range(CLIENTS)]
        for k in self.clients:
            k.start()
        self.addCleanup(self.end)
        self.progress(self.leader)

    def end(self):
        """Whatever the test came to, the next one finds a network."""
        self.net.heal()
        for k in self.clients:
            k.stop = True

    # ---- what the clients see

    def acknowledged(self, s):
        with self.world.lock:
            return self.world.acknowledged.get((s.name, s.pid), (0, 0, 0))[2]

    def progress(self, s, n=40):
        """s answers n writes from now on."""
        until = self.acknowledged(s) + n
        wait_until(lambda: self.acknowledged(s) >= until, DEADLINE_S, what=f"{s.name} answers {n} writes")

    def said(self, s, pattern):
        return re.findall(pattern, s.log[self.marks[s]:])

    def says_once(self, s, pattern):
        self.assertEqual(len(self.said(s, pattern)), 1, f"{s.name}: {pattern}\n{s.log[self.marks[s]:][-3000:]}")

    # ---- what must follow

    def ends(self, s, status, reason):
        """s ends by itself, with one line that says why."""
        self.assertEqual(s.popen.wait(DEADLINE_S), status, s.log[-3000:])
        self.says_once(s, f"stopping status={status} reason=\"[^\n]*{reason}")

    def another_leads(self):
        others = [s for s in self.c.schedulers if s is not self.leader]
        self.c.scheduler = wait_until(lambda: next((s for s in others if s.leads()), None), DEADLINE_S, what="another one leads")
        self.progress(self.c.scheduler)

    def heals(self, restarted=()):
        """All is well again: all vote and follow, clients are served, and the books are right."""
        self.net.heal(reset=self.rng.random() < 0.5)
        for s in restarted:
            s.start(active=False)
            self.pids[s] = s.pid
        self.c.leader(DEADLINE_S)
        self.c.wait_votes()
        self.progress(self.c.scheduler)
        for k in self.clients:
            k.stop = True
        for k in self.clients:
            k.join(60)
            self.assertFalse(k.is_alive())
            self.assertIsNone(k.error)
        for s in self.c.schedulers:
            wait_until(lambda s=s: self.lag(s) <= 1, DEADLINE_S, what=f"{s.name} has caught up")
            self.assertEqual(s.pid, self.pids[s])
        check(self, self.c, self.world)
        check_one_writer(self, self.world)
        self.check_steady()

    def lag(self, s):
        self.assertIsNone(s.popen.poll(), f"{s.name} has ended:\n{s.log[-3000:]}")
        return s.replica()["lag"]

    def check_steady(self):
        tasks = self.c.tasks(role="ops")
        self.assertEqual({(t["assignedTask"]["taskId"], t["status"]) for t in tasks}, {(t, "RUNNING") for t in self.steady})
        state = json.loads(self.c.master.get("/state?n=100000"))
        running = {t["id"] for t in state["tasks"] if t["state"] == "TASK_RUNNING"}
        self.assertLessEqual(self.steady, running)

    def names(self, schedulers):
        return [s.net_name for s in schedulers]


class FaultsTest(Faulty):
    # ---- partitions

    def test_leader_cut_off_from_all(self):
        me = self.leader.net_name
        self.net.cut(*(w for other in self.names(self.followers) + ["zk"] for w in both(me, other)))
        self.assertIn(self.leader.popen.wait(DEADLINE_S), (0, 1))  # of write and session, whichever fails first
        self.says_once(self.leader, "stopping status=")
        self.another_leads()
        self.heals([self.leader])

    def test_leader_cut_off_from_peers(self):
        """It gives its office back to ZooKeeper; started again it waits, however long it is alone."""
        me = self.leader.net_name
        self.net.cut(*(w for other in self.names(self.followers) for w in both(me, other)))
        self.ends(self.leader, 1, "writing to the log failed: timed out")
        self.another_leads()
        self.leader.start(active=False)
        self.pids[self.leader] = self.leader.pid
        self.progress(self.c.scheduler)
        self.assertFalse(self.leader.leads())
        self.heals()

    def test_leader_cut_off_from_zookeeper(self):
        self.net.cut(*both(self.leader.net_name, "zk"))
        self.ends(self.leader, 0, "the ZooKeeper session was lost")
        self.another_leads()
        self.heals([self.leader])

    def test_leader_does_not_hear_zookeeper(self):
        """Its pings still arrive there: it has to give up by itself, and is silent from then on."""
        self.net.cut(("zk", self.leader.net_name))
        self.ends(self.leader, 0, "the ZooKeeper session was lost")
        self.another_leads()
        self.heals([self.leader])

    def test_leader_is_not_heard(self):
        me = self.leader.net_name
        self.net.cut(*((me, other) for other in self.names(self.followers)))
        self.ends(self.leader, 1, "writing to the log failed: timed out")
        self.another_leads()
        self.heals([self.leader])

    def test_leader_does_not_hear(self):
        """The followers store what it writes; it never knows."""
        me = self.leader.net_name
        self.net.cut(*((other, me) for other in self.names(self.followers)))
        self.ends(self.leader, 1, "writing to the log failed: timed out")
        self.another_leads()
        self.heals([self.leader])

    def test_follower_cut_off(self):
        me, other = self.names(self.followers)
        self.net.cut(*both(me, self.leader.net_name), *both(me, other), *both(me, "zk"))
        wait_until(lambda: self.followers[0].var("zk_connection_state_LOST") == 1, DEADLINE_S, what="its session is over")
        self.progress(self.leader)
        self.assertEqual(self.followers[0].request("GET", "/leaderhealth")[0], 502)
        self.assertEqual(self.followers[0].request("GET", "/state")[0], 503)
        self.heals()
        self.assertTrue(self.leader.leads())
        self.says_once(self.followers[0], "zookeeper-session state=lost")

    def test_follower_one_way(self):
        """One follower does not hear, the other one is not heard, one after the other; the third makes the quorum."""
        a, b = self.names(self.followers)
        for way in ((self.leader.net_name, a), (b, self.leader.net_name)):
            self.net.cut(way)
            self.progress(self.leader)
            self.net.heal()
            wait_until(lambda: max(s.replica()["lag"] for s in self.followers) <= 5, DEADLINE_S, what="the followers have caught up")
        self.heals()
        self.assertTrue(self.leader.leads())

    def test_slow_follower(self):
        self.net.delay(0.5, *both(self.leader.net_name, self.followers[0].net_name))
        self.progress(self.leader, 100)
        self.heals()
        self.assertTrue(self.leader.leads())

    def test_zookeeper_loses_all(self):
        """Sessions, elections and the quorum's record: it begins anew, and only the leader has to."""
        self.c.zk.kill9()
        shutil.rmtree(os.path.join(self.c.zk.data, "version-2"))
        self.c.zk.start()
        self.ends(self.leader, 0, "the ZooKeeper session was lost")
        self.heals([self.leader])

    # ---- processes that stand still

    def freeze(self, process):
        os.kill(process.pid, signal.SIGSTOP)
        self.addCleanup(self.thaw, process, process.pid)

    def thaw(self, process, pid=None):
        if process.popen.poll() is None and process.pid == (pid or process.pid):
            os.kill(process.pid, signal.SIGCONT)

    def test_stopped_without_zookeeper(self):
        """SIGTERM ends the leader in order, also while ZooKeeper does not answer."""
        self.freeze(self.c.zk)
        self.assertEqual(self.leader.stop(), 0)
        self.thaw(self.c.zk)
        self.another_leads()
        self.heals([self.leader])

    def test_frozen_follower(self):
        f = self.followers[0]
        self.freeze(f)
        threading.Event().wait(SESSION_MS / 1000 * self.rng.uniform(0.5, 1.5))
        self.progress(self.leader)
        self.thaw(f)
        self.heals()
        self.assertTrue(self.leader.leads())

    def test_leader_frozen_for_a_moment(self):
        """Clients wait; it goes on where it was."""
        self.freeze(self.leader)
        threading.Event().wait(SESSION_MS / 1000 * self.rng.uniform(0.05, 0.2))
        self.thaw(self.leader)
        self.progress(self.leader)
        self.heals()
        self.assertTrue(self.leader.leads())

    def test_zookeeper_frozen_for_a_moment(self):
        """Nobody who could answer misses it."""
        self.freeze(self.c.zk)
        self.progress(self.leader)
        self.thaw(self.c.zk)
        self.heals()
        self.assertTrue(self.leader.leads())
        for s in self.c.schedulers:
            self.assertFalse(self.said(s, "zookeeper-session state=lost"))

    def zookeeper_away(self):
        """Longer than a session: nobody leads, and everybody says so."""
        self.ends(self.leader, 0, "the ZooKeeper session was lost")
        for s in self.followers:
            wait_until(lambda s=s: s.request("GET", "/leaderhealth")[0] == 502, DEADLINE_S, what="nobody leads")
            self.assertEqual(s.request("POST", "/api/v1/getTasksStatus", '{"query":{}}')[0], 503)
            self.says_once(s, "zookeeper-session state=lost")

    def test_zookeeper_frozen(self):
        self.freeze(self.c.zk)
        self.zookeeper_away()
        self.thaw(self.c.zk)
        self.heals([self.leader])

    def test_zookeeper_killed(self):
        self.c.zk.kill9()
        self.zookeeper_away()
        self.c.zk.start()
        self.heals([self.leader])


class FiveTest(Faulty):
    SCHEDULERS = 5

    def test_two_die(self):
        dead = [self.leader, self.followers[0]]
        for s in dead:
            s.kill9()
        self.another_leads()
        self.heals(dead)

    def test_leader_in_the_minority(self):
        """With one follower and without ZooKeeper on this side of the partition, the three others on that one."""
        here, there = self.names([self.leader, self.followers[0]]), self.names(self.followers[1:]) + ["zk"]
        self.net.cut(*(way for a in here for b in there for way in both(a, b)))
        self.assertIn(self.leader.popen.wait(DEADLINE_S), (0, 1))
        self.says_once(self.leader, "stopping status=")
        self.another_leads()
        wait_until(lambda: self.followers[0].request("POST", "/api/v1/getTasksStatus", '{"query":{}}')[0] == 503, DEADLINE_S,
                   what="the follower knows of no leader")
        self.heals([self.leader])


if __name__ == "__main__":
    unittest.main()
