"""Three schedulers whose disks fill up under load: the one that can't write ends and says why, nothing acknowledged is lost. Needs root:
small file systems are mounted."""
import os
import subprocess
import threading
import unittest

from checker import SEED, Roamer, World, check, check_one_writer
from cluster import Cluster, wait_until

CLIENTS = 3
DISK = "48m"
BIG = 1 << 20  # bytes of a job that does not fit into space that was freed before
DEADLINE_S = 60
FLAGS = ["-history_max_per_job_threshold=100000", "-initial_task_kill_retry_interval=1secs", "-reconciliation_initial_delay=1secs"]


def mount(folder):
    os.makedirs(folder)
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], capture_output=True).returncode == 0


class Filler(Roamer):
    """Creates large jobs while it is told to."""
    SIZES, fills = [1], False

    def describe(self, job):
        d = super().describe(job)
        d["taskConfig"]["executorConfig"]["data"] = "true " + os.urandom(BIG // 2).hex()  # which snapshots can't make small
        return d

    def work(self):
        if self.fills:
            self.create()
        else:
            threading.Event().wait(0.02)


class DisksTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"SEED={SEED} BUILD=$BUILD python3 {__file__}", flush=True)
        cls.world = World()
        cls.c = Cluster(agents=20, simulate=True, schedulers=3, flags=FLAGS)
        cls.addClassCleanup(cls.c.close)
        cls.disks = {s: os.path.join(cls.c.dir, f"log{i}") for i, s in enumerate(cls.c.schedulers)}
        for disk in cls.disks.values():
            cls.mounts = mount(disk)
            if not cls.mounts:
                return
            cls.addClassCleanup(subprocess.run, ["umount", "-l", disk])
        cls.c.start()

    def setUp(self):
        if not self.mounts:
            self.skipTest("FULL DISKS ARE NOT TESTED: nothing can be mounted here")
        self.world.round += 1
        self.leader = self.c.leader()
        self.followers = self.c.followers()
        self.mark = {s: len(s.log) for s in self.c.schedulers}
        self.clients = [Roamer(i, self.c.schedulers, self.world) for i in range(CLIENTS)] + [Filler(CLIENTS, self.c.schedulers, self.world)]
        for k in self.clients:
            k.start()
        self.addCleanup(self.stop)
        self.progress(self.leader)

    def stop(self):
        for k in self.clients:
            k.stop = True

    def progress(self, s, n=40):
        def acknowledged():
            return self.world.acknowledged.get((s.name, s.pid), (0, 0, 0))[2]
        until = acknowledged() + n
        wait_until(lambda: acknowledged() >= until, DEADLINE_S, what=f"{s.name} answers {n} writes")

    def fill(self, s):
        self.ballast = os.path.join(self.disks[s], "ballast")
        with open(self.ballast, "wb", buffering=0) as f:
            try:
                while f.write(bytes(65536)):
                    pass
            except OSError:
                pass
        self.clients[-1].fills = True

    def ends(self, s):
        self.assertEqual(s.popen.wait(DEADLINE_S), 1, s.log[-3000:])
        self.clients[-1].fills = False
        said = s.log[self.mark[s]:]
        self.assertEqual(said.count("stopping status=1"), 1, said[-3000:])
        self.assertRegex(said, "stopping status=1 reason=\"[^\n]*no space left on device")

    def heals(self, s):
        os.unlink(self.ballast)
        s.start(active=False)
        self.c.leader(DEADLINE_S)
        self.c.wait_votes()
        self.progress(self.c.scheduler)
        self.stop()
        for k in self.clients:
            k.join(60)
            self.assertFalse(k.is_alive())
            self.assertIsNone(k.error)
        wait_until(lambda: s.replica()["lag"] <= 1, DEADLINE_S, what="it has caught up")
        check(self, self.c, self.world)
        check_one_writer(self, self.world)

    def test_leader(self):
        self.fill(self.leader)
        self.ends(self.leader)
        self.c.scheduler = wait_until(lambda: next((s for s in self.followers if s.leads()), None), DEADLINE_S, what="another one leads")
        self.progress(self.c.scheduler)
        self.heals(self.leader)

    def test_follower(self):
        f = self.followers[0]
        self.fill(f)
        self.ends(f)
        self.progress(self.leader)
        self.heals(f)
        self.assertTrue(self.leader.leads())


if __name__ == "__main__":
    unittest.main()
