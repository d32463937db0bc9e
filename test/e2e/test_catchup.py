"""Standbys that were away: they fetch what they missed, many positions at a time, and start over where it was truncated."""
import http.client
import json
import time
import unittest
import uuid

from checker import Job, World
from cluster import Cluster, wait_until

MISSED = 2000  # positions of the log


def write(scheduler, positions):
    """At least so many entries: each job is one by itself, and so are most changes of its task."""
    conn, world = http.client.HTTPConnection("127.0.0.1", scheduler.http_port, timeout=60), World()
    enough = scheduler.replica()["known"] + positions
    while scheduler.replica()["known"] < enough:
        for _ in range(20):
            job = Job(f"j{uuid.uuid4()}", 1)
            conn.request("POST", "/api/v1/createJob", json.dumps({"description": world.description(job)}),
                         {"Content-Type": "application/json"})
            answer = json.loads(conn.getresponse().read())
            if answer["responseCode"] != "OK":
                raise AssertionError(answer)
    conn.close()


class CatchUpTest(unittest.TestCase):
    def follows(self, follower, leader):
        """It has applied all but the last position, which may be the one that is being written, and then that one, too."""
        wait_until(lambda: follower.replica()["lag"] <= 1 and follower.replica()["heard"] >= leader.replica()["known"], 60,
                   what="the follower has caught up")

    def test_many_missed_positions(self):
        with Cluster(schedulers=3, agents=20, simulate=True, session_ms=10000) as c:
            leader, away = c.scheduler, c.followers()[0]
            away.kill9()
            first = leader.replica()["known"]
            write(leader, MISSED)
            away.start(active=False)
            start = time.monotonic()
            self.follows(away, leader)
            took = time.monotonic() - start
            n = leader.replica()["known"] - first
            print(f"{n} positions in {took:.2f} s", flush=True)
            self.assertGreaterEqual(n, MISSED)
            write(leader, 5)
            wait_until(lambda: away.replica()["lag"] == 0 and away.replica()["heard"] == leader.replica()["known"], 60,
                       what="the follower follows")

    def test_away_during_a_truncation(self):
        with Cluster(schedulers=3, simulate=True, session_ms=10000, flags=["-dlog_snapshot_interval=1secs"]) as c:
            leader, away = c.scheduler, c.followers()[0]
            wait_until(lambda: away.replica()["known"] > 0, 30, what="the follower follows")
            away.kill9()
            known, snapshots = leader.replica()["known"], leader.var("scheduler_log_snapshots")
            self.assertEqual(c.rpc("createJob", description=World().description(Job("meanwhile", 3)))["responseCode"], "OK")
            wait_until(lambda: leader.var("scheduler_log_snapshots") >= snapshots + 2 and leader.replica()["begin"] > known, 60,
                       what="what the follower has is truncated")
            begin = leader.replica()["begin"]
            away.start(active=False)
            self.follows(away, leader)
            self.assertGreaterEqual(away.replica()["begin"], begin)
            # It leads with that state.
            for s in c.schedulers:
                if s is not away:
                    s.kill9()
            other = next(s for s in c.schedulers if s is not away and s is not leader)
            other.start(active=False)
            wait_until(lambda: c.leader() in (away, other), 60, what="another one leads")
            wait_until(lambda: [t["status"] for t in c.tasks(jobName="meanwhile")] == ["RUNNING"] * 3, 60, what="all is there")


if __name__ == "__main__":
    unittest.main()
