"""The driver as a process of its own (test/lib/tool_driver.c) at a master that runs commands: launch, kill, reconcile,
CRAM-MD5, a master that fails over."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from cluster import Master, Process, free_port, wait_until  # noqa: E402

BUILD = os.path.abspath(os.environ["BUILD"])
SECONDS = 90


class DriverTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="aurora-test-")
        self.addCleanup(self.dir.cleanup)

    def start_master(self, *flags):
        self.master = Master(BUILD, self.dir.name, free_port(), 1, False, None, list(flags))
        self.addCleanup(self.master.stop)
        self.master.start()

    def start_tool(self, *args):
        tool = Process("tool_driver", [f"{BUILD}/test/tool_driver", f"127.0.0.1:{self.master.port}", *args], self.dir.name)
        tool.spawn()
        self.addCleanup(tool.stop)
        return tool

    def end_of(self, tool):
        """Its exit status and what it printed."""
        wait_until(lambda: tool.popen.poll() is not None, SECONDS, what=f"the end of\n{tool.log}")
        return tool.popen.returncode, tool.log

    def assert_passes(self, tool):
        status, log = self.end_of(tool)
        self.assertEqual(status, 0, log)
        for line in ("launched", "found by reconciliation", "killed", "done"):
            self.assertIn(line, log.split("\n"), log)
        return log

    def test_life_of_a_task(self):
        self.start_master()
        self.assert_passes(self.start_tool())

    def restart(self, tool):
        wait_until(lambda: "restart the master now" in tool.log, SECONDS, what="RUNNING")
        self.master.post("/control/master/failover")

    def test_failover_of_the_master(self):
        self.start_master()
        tool = self.start_tool("restart")
        self.restart(tool)
        log = self.assert_passes(tool)
        self.assertIn("disconnected", log)
        self.assertEqual(log.count(" first=1"), 2 * 2, log)  # each told once by the log and once by the tool

    def test_failover_with_authentication(self):
        credentials = os.path.join(self.dir.name, "credentials")
        with open(credentials, "w", encoding="utf-8") as f:
            f.write("aurora s3cret\n")
        self.start_master("--authenticate", f"--credentials={credentials}")
        tool = self.start_tool("aurora", "s3cret", "restart")
        self.restart(tool)
        log = self.assert_passes(tool)
        self.assertGreaterEqual(log.count("mesos_authenticated"), 2, log)
        status, log = self.end_of(self.start_tool("aurora", "wrong"))
        self.assertEqual(status, 1, log)
        self.assertIn("fatal: Master refused authentication", log)
        status, log = self.end_of(self.start_tool())
        self.assertEqual(status, 1, log)
        self.assertIn("is not authenticated", log)


if __name__ == "__main__":
    unittest.main()
