"""The Makefile's small targets: help, dist, install."""
import os
import subprocess
import tarfile
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TARGETS = {"all", "run", "test", "asan", "sim", "fuzz", "bench", "tidy", "format", "check-layers", "install", "dist", "clean", "help"}


def make(*args, cwd=ROOT):
    # Not a part of the make that runs the tests: its flags and job server are none of ours.
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MODE", "BUILD")}
    return subprocess.run(["make", "-s", *args], cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout


class MakeTest(unittest.TestCase):
    def test_help_lists_every_target(self):
        listed = {line.split()[0] for line in make("help").splitlines()}
        self.assertLessEqual(TARGETS, listed)

    def test_dist_is_complete(self):
        """What it holds is enough for make to know how to build everything, without git."""
        if not os.path.isdir(os.path.join(ROOT, ".git")) and not os.path.isfile(os.path.join(ROOT, ".git")):
            self.skipTest("an archive is made of a clone")
        make("dist")
        with tempfile.TemporaryDirectory() as d:
            with tarfile.open(os.path.join(ROOT, "build", "aurora-scheduler.tar.gz")) as t:
                t.extractall(d)
            there = make("-n", "all", cwd=os.path.join(d, "aurora-scheduler"))
        self.assertIn("admin/main.c", there)
        self.assertIn("mesos/local/main.c", there)

    def test_install(self):
        """The programs are taken for built: this is about what goes where."""
        with tempfile.TemporaryDirectory() as d:
            there = make("-n", "install", f"DESTDIR={d}", "PREFIX=/opt")
            for line in (x for x in there.splitlines() if x.startswith(("install ", "sed ")) and "build/" not in x):
                subprocess.run(line, shell=True, cwd=ROOT, check=True)
            with open(f"{d}/lib/systemd/system/aurora-scheduler.service", encoding="utf-8") as f:
                self.assertIn("ExecStart=/opt/sbin/aurora-scheduler ", f.read())
            self.assertLessEqual({"hello.json", "scheduler.flags", "scheduler.sh"},
                                 set(os.listdir(f"{d}/opt/share/aurora-scheduler")))
        self.assertIn("build/aurora-scheduler", there)
        self.assertIn("build/mesos-local", there)


if __name__ == "__main__":
    unittest.main()
