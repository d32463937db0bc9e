"""docs/examples/run.py and run_ha.py, which are `make run` and `make run-ha`, ended by Ctrl-C as on a terminal."""
import os
import re
import shutil
import signal
import subprocess
import unittest

from cluster import die_with_parent, wait_until

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def processes(build):
    """Commands of all processes that run from this build."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if line.startswith((f"{build}/aurora-scheduler -cluster_name=local ", f"{build}/mesos-local ", "java ")) and f"{build}/run" in line:
            found.append(line)
    return found


class RunTest(unittest.TestCase):
    def setUp(self):
        self.build = os.environ["BUILD"]
        for folder in ("run", "run-ha"):
            shutil.rmtree(f"{self.build}/{folder}", ignore_errors=True)

    def run_once(self, script="run.py"):
        """What it prints until it is up and Ctrl-C has ended it."""
        path = f"{self.build}/run.out"
        with open(path, "wb") as out:
            p = subprocess.Popen(["/usr/bin/python3", f"{ROOT}/docs/examples/{script}", "--build", self.build], stdout=out,
                                 stderr=out, start_new_session=True, preexec_fn=die_with_parent)

        def text():
            with open(path, encoding="utf-8") as f:
                return f.read()

        def up():
            if p.poll() is not None:
                raise RuntimeError(text())
            return "Ctrl-C stops everything" in text()
        try:
            wait_until(up, 120, what="it is up")
            self.assertGreaterEqual(len(processes(self.build)), 2)
            os.killpg(p.pid, signal.SIGINT)
            self.assertEqual(p.wait(60), 0)
            self.assertEqual(processes(self.build), [])
            return text()
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
            os.unlink(path)

    def test_twice(self):
        first = self.run_once()
        self.assertIn("/api/v1/createJob\n{\"responseCode\":\"OK\"", first)
        self.assertEqual(re.findall(r"^  \S+ \S+  ([A-Z]+) +www-prod-hello-0-", first, re.M),
                         ["PENDING", "ASSIGNED", "STARTING", "RUNNING"])
        self.assertRegex(first, r"Its own output:\n  hello number 1 from ")
        second = self.run_once()
        self.assertIn("The job is still there from the last run.", second)
        self.assertEqual(re.findall(r"^  \S+ \S+  ([A-Z]+) +www-prod-hello-0-", second, re.M),
                         ["PENDING", "ASSIGNED", "STARTING", "RUNNING", "LOST"] + ["PENDING", "ASSIGNED", "STARTING", "RUNNING"])
        self.assertRegex(second, r"Its own output:\n  hello number 1 from ")

    def test_three_schedulers(self):
        out = self.run_once("run_ha.py")
        self.assertEqual(re.findall(r"^  scheduler \d  http://\S+  (\w+)$", out, re.M).count("leads"), 2)  # before and after
        self.assertRegex(out, r"(?m)^fail-over: \d+ ms, of which \d+ ms until ZooKeeper ")
        told = re.findall(r"^  (\S+ \S+  [A-Z]+ +www-prod-hello-0-\S+)$", out, re.M)
        self.assertEqual(told[:4], told[4:])  # by one leader as by the other
        self.assertEqual(len(told), 8)


if __name__ == "__main__":
    unittest.main()
