"""What a client asked for at once is in the log at once, whatever its size: in one entry, so that no crash can keep a part of it."""
import unittest

from checker import Job, World
from cluster import Cluster, wait_until

RECORD_BYTES = 64 << 10  # -dlog_max_entry_size
STEP = 250  # instances that the scheduler creates before it looks after others


class AtomicTest(unittest.TestCase):
    def test_a_large_job_is_one_entry(self):
        with Cluster(simulate=True, flags=[f"-dlog_max_entry_size={RECORD_BYTES >> 10}KB"]) as c:
            wait_until(lambda: c.scheduler.var("outstanding_offers"), 30, what="the agent's attributes are stored")
            for instances in (STEP, STEP + 1, 3 * STEP - 1):
                wanted = World().description(Job(f"large{instances}", instances))
                wanted["taskConfig"]["resources"][0] = {"numCpus": 1000000}  # so that nothing is written but the job
                wanted["taskConfig"]["executorConfig"]["data"] = "x" * 1000
                before = c.scheduler.vars()
                self.assertEqual(c.rpc("createJob", description=wanted)["responseCode"], "OK")
                after = c.scheduler.vars()
                self.assertEqual(after["scheduler_log_entries_written"] - before["scheduler_log_entries_written"], 1)
                written = after["scheduler_log_bytes_written"] - before["scheduler_log_bytes_written"]
                self.assertGreater(written, RECORD_BYTES)
            c.scheduler.kill9()
            c.scheduler.start()
            self.assertEqual(len(c.tasks(role="www")), 5 * STEP)


if __name__ == "__main__":
    unittest.main()
