"""kill -9 under load, at random moments, again and again: nothing that a client was told is lost, nothing is invented.

The clients and what is compared after each restart: test/lib/checker.py.
"""
import os
import random
import threading
import unittest

from checker import CLIENTS, SEED, Client, World, check
from cluster import Cluster

KILLS = int(os.environ.get("KILLS", "200"))
LOAD_S = (0.02, 0.25)  # how long the clients load it before the kill


class CrashTest(unittest.TestCase):
    def test_kill_9_loses_and_invents_nothing(self):
        print(f"SEED={SEED} KILLS={KILLS} BUILD=$BUILD python3 {__file__}", flush=True)
        rng = random.Random(SEED)
        world = World()
        with Cluster(agents=20, simulate=True,
                     flags=["-history_max_per_job_threshold=100000", "-dlog_snapshot_interval=2secs",
                            "-initial_task_kill_retry_interval=1secs"]) as c:
            for world.round in range(KILLS):
                clients = [Client(i, c.scheduler.http_port, world) for i in range(CLIENTS)]
                for k in clients:
                    k.start()
                threading.Event().wait(rng.uniform(*LOAD_S))
                c.scheduler.kill9()
                for k in clients:
                    k.join(60)
                    self.assertFalse(k.is_alive())
                    self.assertIsNone(k.error)
                c.scheduler.start()
                check(self, c, world)
        told = sum(j.created == "told" for _, j in world.jobs.values())
        print(f"{KILLS} kills; {told} acknowledged jobs, {len(world.seen)} tasks seen in answers", flush=True)
        self.assertGreater(told, KILLS // 4)


if __name__ == "__main__":
    unittest.main()
