"""The log alone under kill -9: a writer of numbers is killed at random moments; what it said was durable is there afterwards, and
nothing is there that it had not begun to write."""
import os
import random
import shutil
import subprocess
import tempfile
import time
import unittest

KILLS = int(os.environ.get("LOG_KILLS", "60"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(1 << 32))))
WRITER = os.path.join(os.environ["BUILD"], "test", "tool_logwriter")


class Run:
    """One life of the writer: what it had at the start, what it began to write, and what it said was durable."""

    def __init__(self, folder, kill_after_s):
        p = subprocess.Popen([WRITER, folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(kill_after_s)  # the moment of the kill is the test's input, not a wait for something
        p.kill()
        out, err = p.communicate()
        self.error = err.decode()
        self.had, self.sent, self.told = None, 0, 0
        for line in out.decode().splitlines():
            word, *numbers = line.split()
            if word == "have":
                self.had = (int(numbers[0]), int(numbers[1]))
            elif word == "s":
                self.sent = int(numbers[0])
            else:
                self.told = int(numbers[0])


class LogCrash(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="log_crash.")
        self.addCleanup(shutil.rmtree, self.folder)

    def test_kill_at_random_moments(self):
        print(f"replay: SEED={SEED} LOG_KILLS={KILLS} BUILD={os.environ['BUILD']} python3 test/e2e/test_log_crash.py")
        rng = random.Random(SEED)
        path = os.path.join(self.folder, "log")
        sent = told = starts = 0
        for kill in range(KILLS):
            run = Run(path, rng.uniform(0, 0.4) if kill else 0.001)
            self.assertEqual(run.error, "", f"kill {kill}")
            if run.had:
                starts += 1
                first, last = run.had
                self.assertGreaterEqual(last, told, f"kill {kill}: a number that was durable is lost")
                self.assertLessEqual(last, sent, f"kill {kill}: a number that was never written is there")
                self.assertGreaterEqual(first, max(1, last - 299), f"kill {kill}: a removed number is back")
                sent = max(last, run.sent)
            told = max(told, run.told)
        print(f"{starts} of {KILLS} lives got to writing; {told} numbers were durable")
        self.assertGreater(starts, KILLS // 4)
        self.assertGreater(told, 0)


if __name__ == "__main__":
    unittest.main()
