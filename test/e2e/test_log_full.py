"""A full disk stops the log with a clear error; when there is space again, nothing that was durable is missing. Needs root: a small
tmpfs is mounted."""
import os
import shutil
import subprocess
import tempfile
import time
import unittest

WRITER = os.path.join(os.environ["BUILD"], "test", "tool_logwriter")
DEADLINE_S = 60


def mount(folder):
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True).returncode == 0


def numbers(out, word):
    return [int(line.split()[-1]) for line in out.splitlines() if line.startswith(word + " ")]


class LogFull(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="log_full.")
        self.addCleanup(shutil.rmtree, self.folder)
        if not mount(self.folder):
            self.skipTest("cannot mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", self.folder])
        self.log = os.path.join(self.folder, "log")
        self.ballast = os.path.join(self.folder, "ballast")

    def fill(self):
        with open(self.ballast, "wb") as f:
            try:
                while True:
                    f.write(bytes(65536))
                    f.flush()
            except OSError:
                pass

    def start(self):
        out = tempfile.TemporaryFile()
        self.addCleanup(out.close)
        p = subprocess.Popen([WRITER, self.log, "grow"], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE)
        return p, out

    def read(self, out):
        return os.pread(out.fileno(), 1 << 24, 0).decode()

    def wait(self, what, condition):
        end = time.monotonic() + DEADLINE_S
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def test_full_disk(self):
        p, out = self.start()
        self.wait("writes", lambda: len(numbers(self.read(out), "a")) > 200)
        self.fill()
        _, err = p.communicate(timeout=DEADLINE_S)
        self.assertEqual(p.returncode, 1)
        self.assertIn("no space left", err.decode())
        told = max(numbers(self.read(out), "a"))
        p, out = self.start()
        _, err = p.communicate(timeout=DEADLINE_S)
        self.assertIn("no space left", err.decode())
        told = max([told] + numbers(self.read(out), "a"))
        os.unlink(self.ballast)
        p, out = self.start()
        self.wait("writes again", lambda: len(numbers(self.read(out), "a")) > 200)
        p.kill()
        p.communicate()
        self.assertGreaterEqual(numbers(self.read(out), "have")[0], told)


if __name__ == "__main__":
    unittest.main()
