"""Wrong quorum sizes end to end: real schedulers and a real ZooKeeper. What is refused says what to set; no two write at once; nothing
that was acknowledged is lost. Every combination of sizes: test/unit/log_quorum.c, log_quorum_change.c and admin_peers_quorum.c.

SEED replays the load's random choices.
"""
import os
import shutil
import subprocess
import tempfile
import unittest

from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

from checker import SEED, Client, World, check
from cluster import Master, Scheduler, ZooKeeper, free_port, wait_until

BUILD = os.path.abspath(os.environ["BUILD"])
ENDS_S = 60


class Group:
    """Schedulers 0, 1, ... of one log, each with a folder and ports of its own, below a path of its own in ZooKeeper."""
    n_groups = 0

    def __init__(self, servers):
        Group.n_groups += 1
        self.servers, self.path = servers, f"/group{Group.n_groups}"
        self.dir = tempfile.mkdtemp(prefix="aurora-quorum-")
        self.all, self.scheduler = {}, None

    def flags(self, quorum):
        return [f"-zk_endpoints={self.servers.zk.address}", "-zk_session_timeout=2secs", f"-serverset_path={self.path}/scheduler",
                f"-native_log_zk_group_path={self.path}/log", f"-native_log_quorum_size={quorum}",
                "-history_max_per_job_threshold=100000"]

    def at(self, i, quorum, flags=()):
        """Scheduler i with this size, not started; its folder is what it was."""
        master = f"127.0.0.1:{self.servers.master.port}"
        s = self.all[i] = Scheduler(BUILD, self.dir, master, self.flags(quorum) + list(flags), None, str(i))
        return s

    def start(self, i, quorum, flags=()):
        s = self.at(i, quorum, flags)
        s.began = os.path.getsize(s.log_path) if os.path.exists(s.log_path) else 0
        s.spawn()
        return s

    def started(self, *members, quorum):
        """These lead and follow."""
        for i in members:
            self.start(i, quorum)
        self.leader(*members)
        for i in members:
            wait_until(lambda s=self.all[i]: s.replica()["votes"], 60, what=f"{self.all[i].name} votes")
        return self.scheduler

    def leader(self, *members):
        alive = [self.all[i] for i in members]
        try:
            self.scheduler = wait_until(lambda: next((s for s in alive if s.leads()), None), 60, pause=0.02, what="one leads")
        except AssertionError as e:
            raise AssertionError(f"{e}\n" + "\n".join(f"{s.name}:\n{said(s)[-3000:]}" for s in alive)) from None
        return self.scheduler

    def stop(self, *members):
        for i in members:
            self.all[i].stop()

    def stop_leaders(self, *members, quorum):
        """Stops whoever leads, as long as somebody can, then the rest; returns the last leader's number."""
        left = list(members)
        while len(left) >= quorum:
            last = self.number(self.leader(*left))
            self.all[last].stop()
            left.remove(last)
        self.stop(*left)
        return last

    def folder(self, i):
        return f"{self.dir}/log{i}"

    def number(self, scheduler):
        return next(i for i, s in self.all.items() if s is scheduler)

    def tool(self, command, i, quorum, flags=()):
        s = self.at(i, quorum, flags)
        p = subprocess.run([s.argv[0], "log", command, *s.argv[1:]], capture_output=True, timeout=60, check=False)
        return p.returncode, (p.stdout + p.stderr).decode()

    def rpc(self, method, **args):
        return self.scheduler.rpc(method, **args)

    def close(self):
        for s in self.all.values():
            if s.alive:
                s.kill9()
        shutil.rmtree(self.dir, ignore_errors=True)


def said(s):
    """What it has logged since its last start."""
    with open(s.log_path, "rb") as f:
        f.seek(s.began)
        return f.read().decode(errors="replace")


class QuorumTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"SEED={SEED} BUILD=$BUILD python3 {__file__}", flush=True)
        cls.dir = tempfile.mkdtemp(prefix="aurora-quorum-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.zk = ZooKeeper(cls.dir)
        cls.master = Master(BUILD, cls.dir, free_port(), 2, True, None, [])
        for p in (cls.zk, cls.master):
            p.start()
            cls.addClassCleanup(p.kill9)

    def group(self):
        g = Group(self)
        self.addCleanup(g.close)
        return g

    def refused(self, s, *says):
        """It ends with status 1, and a message that says all this."""
        try:
            status = s.popen.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self.fail(f"{s.name} was not refused:\n{said(s)[-3000:]}")
        self.assertEqual(status, 1, said(s)[-3000:])
        for text in says:
            self.assertIn(text, said(s))

    def waits(self, s, *says):
        """It stays out, and says why."""
        for text in says:
            wait_until(lambda t=text: t in said(s), ENDS_S, what=f"{s.name}: {text}")
        self.assertTrue(s.alive)
        self.assertFalse(s.leads())

    def create(self, g, name):
        job = type("Job", (), {"name": name, "instances": 1})
        self.assertEqual(g.rpc("createJob", description=World().description(job))["responseCode"], "OK")

    def jobs(self, g):
        answer = g.rpc("getTasksStatus", query={"role": "www"})
        return sorted({t["assignedTask"]["task"]["job"]["name"] for t in answer["result"]["scheduleStatusResult"]["tasks"]})

    # ---- contradictions ----

    def test_with_the_own_folder(self):
        g = self.group()
        g.started(0, quorum=1)
        self.create(g, "kept")
        g.stop(0)
        self.refused(g.start(0, 2), "quorum size 1, but -native_log_quorum_size is 2", "set it to 1", "log set-quorum")
        g.started(0, quorum=1)
        self.assertEqual(self.jobs(g), ["kept"])

    def test_with_a_peer_that_runs(self):
        """Nobody has led: it is only the peer that knows."""
        g = self.group()
        waiting = g.start(0, 2)
        wait_until(lambda: "candidate" in said(waiting), 60, what="the first one takes part")
        for i, size in ((1, 1), (2, 3)):
            self.refused(g.start(i, size), f"has quorum size 2, not {size}; set -native_log_quorum_size=2")
        for i in (1, 2):
            g.start(i, 2)
        g.leader(0, 1, 2)

    def test_while_clients_are_served(self):
        """Every kind of intruder, under load, and a fail-over among them."""
        g, world = self.group(), World()
        g.started(0, 1, 2, quorum=2)
        world.round += 1
        clients = [Client(i, g.scheduler.http_port, world, may_be_deposed=True) for i in range(3)]
        for c in clients:
            c.start()
        intruders = {3: 1, 4: 3, 5: 2}
        for i, size in intruders.items():
            g.start(i, size)
        self.refused(g.all[3], "the log's group in ZooKeeper has quorum size 2, not 1; set -native_log_quorum_size=2")
        self.refused(g.all[4], "the log's group in ZooKeeper has quorum size 2, not 3; set -native_log_quorum_size=2")
        self.refused(g.all[5], "there are 4 replicas, but quorum size 2 is safe for at most 3", "set -native_log_quorum_size=3")
        self.assertTrue(g.scheduler.leads())
        dead = g.scheduler
        dead.kill9()
        for c in clients:
            c.join(60)
            self.assertIsNone(c.error)
        self.assertIsNot(g.leader(0, 1, 2), dead)
        check(self, g, world)

    def test_with_those_that_are_gone(self):
        """Only ZooKeeper still knows the size, and that there is a log."""
        g = self.group()
        g.started(0, 1, 2, quorum=2)
        self.create(g, "kept")
        g.stop(0, 1, 2)
        self.refused(g.start(3, 1), "the log's group in ZooKeeper has quorum size 2, not 1")
        self.refused(g.start(4, 3), "the log's group in ZooKeeper has quorum size 2, not 3")
        # All disks seem lost: no new log is begun beside the one that there is.
        for i in (5, 6, 7):
            g.start(i, 2)
        for i in (5, 6, 7):
            self.waits(g.all[i], "the log exists, but of the 2 replicas that it can be fetched from there are 0")
        g.stop(5, 6, 7)
        g.started(0, 1, 2, quorum=2)
        self.assertEqual(self.jobs(g), ["kept"])

    # ---- five schedulers with size 2 ----

    def test_five_with_size_two_in_two_halves(self):
        g = self.group()
        g.started(0, 1, 2, quorum=2)
        self.create(g, "kept")
        for i in (3, 4):
            self.refused(g.start(i, 2), "there are 4 replicas", "set -native_log_quorum_size=3 on all")
        # The other half alone, with one of the first: not enough of those that know what was acknowledged.
        g.stop(0, 1, 2)
        for i in (0, 3, 4):
            g.start(i, 2)
        for i in (3, 4):
            self.waits(g.all[i], "the log exists, but of the 2 replicas")
        self.assertFalse(any(g.all[i].leads() for i in (0, 3, 4)))
        g.stop(3, 4)
        g.start(1, 2)
        g.leader(0, 1)
        self.assertEqual(self.jobs(g), ["kept"])
        # A replica that has been replaced does not come back with what it had.
        g.start(3, 2)
        wait_until(lambda: g.all[3].replica()["votes"], 60, what="the new one votes")
        self.create(g, "second")
        wait_until(lambda: g.all[3].replica()["lag"] <= 1, 60, what="the new one follows")
        g.all[1].kill9()
        replaced = g.start(2, 2)
        self.refused(replaced, "replaced by others while it was away", "move its folder away")

    # ---- changing it ----

    def test_one_three_five_and_back(self):
        g = self.group()
        g.started(0, quorum=1)
        self.create(g, "one")
        g.stop(0)
        self.grow_to_three(g)
        self.grow_to_five(g)
        self.shrink_to_three(g)

    def grow_to_three(self, g):
        status, text = g.tool("new-replica", 0, 1)
        self.assertEqual(status, 3, text)
        status, text = g.tool("set-quorum", 0, 2)
        self.assertEqual(status, 0, text)
        self.assertIn("changed from 1 to 2", text)
        self.assertEqual(g.tool("set-quorum", 0, 2)[0], 0)  # nothing to do
        self.refused(g.start(0, 1), "quorum size 2, but -native_log_quorum_size is 1")
        shutil.copytree(g.folder(0), g.folder(1))
        g.start(0, 2)
        wait_until(lambda: "candidate" in said(g.all[0]), 60, what="the first one takes part")
        self.refused(g.start(1, 2), "is the same replica as this", "log new-replica")
        status, text = g.tool("new-replica", 1, 2)
        self.assertEqual(status, 0, text)
        g.start(1, 2)
        g.start(2, 2)
        g.leader(0, 1, 2)
        wait_until(lambda: g.all[2].replica()["votes"], 60, what="the empty one votes")
        self.assertEqual(self.jobs(g), ["one"])
        self.create(g, "three")
        self.assertEqual(g.tool("set-quorum", 9, 3)[0], 3)  # no folder
        self.assertFalse(os.path.exists(g.folder(9)))

    def grow_to_five(self, g):
        g.stop(1, 2)
        status, text = g.tool("set-quorum", 1, 3)
        self.assertEqual(status, 3)
        self.assertIn("1 schedulers are registered: stop all of them first", text)
        g.all[0].stop()
        self.assertEqual(g.tool("set-quorum", 1, 3)[0], 0)
        self.refused(g.start(1, 2), "quorum size 3, but -native_log_quorum_size is 2")
        self.refused(g.start(2, 2), "the quorum size was changed to 3, and this folder has 2", "run `aurora-scheduler log set-quorum`")
        for i in (0, 2):
            status, text = g.tool("set-quorum", i, 3)
            self.assertEqual(status, 0, text)
        g.started(0, 1, 2, 3, 4, quorum=3)
        self.assertEqual(self.jobs(g), ["one", "three"])
        self.create(g, "five")

    def shrink_to_three(self, g):
        last = g.stop_leaders(*range(5), quorum=3)
        others = [i for i in range(5) if i != last]
        status, text = g.tool("set-quorum", others[0], 2)
        self.assertEqual(status, 3, text)
        self.assertIn("led last and has everything", text)
        status, text = g.tool("set-quorum", last, 2)
        self.assertEqual(status, 0, text)
        self.refused(g.start(others[0], 3), "this folder is from before the quorum size was changed", "move it away")
        self.assertIn("move the folder away", g.tool("set-quorum", others[0], 2)[1])
        for i in others:
            shutil.rmtree(g.folder(i))
        shutil.copytree(g.folder(last), g.folder(others[0]))
        self.assertEqual(g.tool("new-replica", others[0], 2)[0], 0)
        g.started(last, others[0], others[1], quorum=2)
        self.assertEqual(self.jobs(g), ["five", "one", "three"])
        self.assertEqual(g.tool("new-replica", others[2], 2)[0], 3)

    # ---- ZooKeeper's data ----

    def test_a_registration_left_behind_goes_by_itself(self):
        """With size 1 there is room for one: the next process waits for the session of the one that was killed."""
        g = self.group()
        g.started(0, quorum=1)
        self.create(g, "kept")
        g.all[0].kill9()
        again = g.start(0, 1)  # on other ports
        wait_until(lambda: "quorum_waits" in said(again) or again.leads(), 60, what="it waits for the session, or that was faster")
        g.leader(0)
        self.assertEqual(self.jobs(g), ["kept"])

    def test_foreign_data_in_the_znode(self):
        g = self.group()
        zk = KazooClient(self.zk.address)
        zk.start()
        try:
            zk.create(f"{g.path}/log", b"10.0.0.1", makepath=True)
            self.refused(g.start(0, 1), "is no quorum record of this version", "delete the znode")
            zk.delete(f"{g.path}/log")
            g.started(0, quorum=1)
            self.assertRegex(zk.get(f"{g.path}/log")[0].decode(), r"^quorum=1 changes=0 replica=[0-9a-f]{16} seen=[0-9a-f]{16}$")
        finally:
            zk.stop()
            zk.close()

    def test_the_record_belongs_to_its_credentials(self):
        g = self.group()
        s = g.start(0, 1, flags=["-zk_digest_credentials=aurora:secret"])
        g.leader(0)
        path = f"{g.path}/log"
        stranger = KazooClient(self.zk.address)
        stranger.start()
        self.addCleanup(lambda: (stranger.stop(), stranger.close()))
        self.assertIn(b"quorum=1 ", stranger.get(path)[0])
        with self.assertRaises(NoAuthError):
            stranger.set(path, b"quorum=2 changes=0 replica=0000000000000001 seen=0000000000000001")
        s.stop()
        status, text = g.tool("set-quorum", 0, 2)
        self.assertEqual(status, 3, text)
        self.assertIn("could not be written: refused", text)
        status, text = g.tool("set-quorum", 0, 2, flags=["-zk_digest_credentials=aurora:secret"])
        self.assertEqual(status, 0, text)
        self.assertIn(b"quorum=2 changes=1 replica=0000000000000000 ", stranger.get(path)[0])
        self.refused(g.start(1, 2), "no permission")


if __name__ == "__main__":
    unittest.main()
