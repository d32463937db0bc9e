"""`aurora-scheduler log` on folders that a real scheduler left behind: stopped in order, and killed."""
import hashlib
import importlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.transport.TTransport import TMemoryBuffer

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from cluster import Cluster, wait_until  # noqa: E402

SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(1 << 32))))
FLIPS = int(os.environ.get("LOG_FLIPS", "25"))
PROGRAM = os.path.join(os.environ["BUILD"], "aurora-scheduler")
OK, DAMAGED, USAGE, FAILED = range(4)


def description(name, instances):
    key = {"role": "www", "environment": "prod", "name": name}
    return {"key": key, "owner": {"user": "www"}, "instanceCount": instances,
            "taskConfig": {"job": key, "owner": {"user": "www"}, "isService": True,
                           "resources": [{"numCpus": 0.01}, {"ramMb": 1}, {"diskMb": 1}],
                           "executorConfig": {"name": "CommandExecutor", "data": "sleep 1000"}}}


def storage_types():
    """What thrift's own generator makes of the log's IDL."""
    out = tempfile.mkdtemp(prefix="aurora-idl-")
    subprocess.run(["thrift", "-r", "--gen", "py", "-out", out, "core/idl/storage.thrift"], check=True)
    sys.path.insert(0, out)
    modules = [importlib.import_module(f"gen.apache.aurora.{m}.ttypes") for m in ("api", "storage")]
    for value in (v for m in modules for v in vars(m).values()):
        if isinstance(value, type) and hasattr(value, "thrift_spec"):
            value.__hash__ = lambda self: 0  # members of sets, but the generated classes only know equality
    shutil.rmtree(out)
    return modules


def tool(*words):
    """Exit status, objects of standard output, standard error."""
    p = subprocess.run([PROGRAM, "log", *words], capture_output=True, text=True, timeout=120)
    return p.returncode, [json.loads(line) for line in p.stdout.splitlines()], p.stderr


def raw(*words):
    p = subprocess.run([PROGRAM, "log", *words], capture_output=True, timeout=120)
    return p.returncode, p.stdout


def fingerprint(folder):
    """Names, contents, times of change."""
    out = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        with open(path, "rb") as f:
            out.append((name, os.stat(path).st_mtime_ns, hashlib.sha256(f.read()).hexdigest()))
    return out


def apply_entry(tasks, entry):
    """What a LogEntry of python3-thrift does to {task id: status}."""
    if entry.snapshot is not None:
        tasks.clear()
        tasks.update({t.assignedTask.taskId: t.status for t in entry.snapshot.tasks or ()})
    for op in entry.transaction.ops if entry.transaction else ():
        if op.saveTasks is not None:
            tasks.update({t.assignedTask.taskId: t.status for t in op.saveTasks.tasks})
        if op.removeTasks is not None:
            for task_id in op.removeTasks.taskIds:
                tasks.pop(task_id, None)


class LogTool(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.api, cls.storage = storage_types()
        cls.dir = tempfile.mkdtemp(prefix="log_tool.")
        cls.stopped, cls.killed = os.path.join(cls.dir, "stopped"), os.path.join(cls.dir, "killed")
        with Cluster(simulate=True, flags=["-dlog_max_entry_size=2KB", "-dlog_snapshot_interval=1secs"]) as c:
            log = os.path.join(c.dir, "log")
            cls.create(c, "first", 60)
            wait_until(lambda: c.scheduler.var("scheduler_log_snapshots") >= 1, 60, what="a snapshot")
            c.scheduler.stop()
            # From now on what is written stays as it was written.
            c.scheduler.argv.append("-dlog_snapshot_interval=1hrs")
            c.scheduler.argv.remove("-dlog_snapshot_interval=1secs")
            c.scheduler.start()
            cls.create(c, "second", 40)
            cls.busy = tool("verify", f"--path={log}")
            cls.tasks = cls.statuses(c)
            assert c.rpc("performBackup")["responseCode"] == "OK"
            cls.backup = os.path.join(cls.dir, "backup")
            shutil.copy(max(os.scandir(os.path.join(c.dir, "backups")), key=lambda e: e.name).path, cls.backup)
            c.scheduler.stop()
            shutil.copytree(log, cls.stopped)
            c.scheduler.start()
            cls.create(c, "third", 40)
            c.scheduler.kill9()
            shutil.copytree(log, cls.killed)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    @classmethod
    def create(cls, c, name, instances):
        answer = c.rpc("createJob", description=description(name, instances))
        assert answer["responseCode"] == "OK", answer
        c.wait_statuses(["RUNNING"] * instances, role="www", environment="prod", jobName=name)

    @staticmethod
    def statuses(c):
        return {t["assignedTask"]["taskId"]: t["status"] for t in c.tasks(role="www")}

    def damaged(self):
        folder = os.path.join(self.dir, "damaged")
        shutil.copytree(self.stopped, folder)
        self.addCleanup(shutil.rmtree, folder)
        return folder

    # ---- sound folders ----

    def test_verify_finds_nothing_and_changes_nothing(self):
        for folder in (self.stopped, self.killed):
            before = fingerprint(folder)
            for command in ("verify", "read", "dump"):
                status, lines, err = tool(command, "--path", folder)
                self.assertEqual((status, err), (OK, ""), lines[-3:])
                if command == "verify":
                    summary = lines[-1]
            self.assertEqual(fingerprint(folder), before)
            self.assertEqual((summary["summary"], summary["findings"], summary["status"], summary["quorum"]),
                             ("sound", 0, "VOTING", 1))
            self.assertGreaterEqual(summary["snapshots"], 1)
            self.assertGreaterEqual(summary["tasks"], 140 if folder == self.killed else 100)

    def test_read_shows_every_position(self):
        status, lines, _ = tool("read", f"-native_log_file_path={self.stopped}")
        self.assertEqual(status, OK)
        metadata, positions = lines[0]["metadata"], lines[1:]
        self.assertEqual([p["position"] for p in positions], list(range(metadata["begin"], metadata["end"] + 1)))
        self.assertTrue(all(p["learned"] for p in positions))
        self.assertIsInstance(metadata["seen"], list)
        self.assertTrue(metadata["complete"])
        self.assertEqual({p["type"] for p in positions} - {"nop"}, {"append", "truncate"})
        entries = [p["entry"] for p in positions if "entry" in p]
        snapshot = next(e["completes"] for e in entries if e.get("completes", {}).get("kind") == "snapshot")
        self.assertTrue(snapshot["deflated"])
        self.assertGreater(snapshot["timestamp"], 1600000000000)
        self.assertGreaterEqual(snapshot["tasks"], 60)
        framed = next(e["completes"] for e in entries if e.get("completes", {}).get("kind") == "transaction")
        self.assertGreaterEqual(framed["ops"]["saveTasks"], 1)
        headers = [e for e in entries if e["kind"] == "frame_header"]
        self.assertEqual(sum(e["chunks"] for e in headers), sum(e["kind"] == "frame_chunk" for e in entries))
        self.assertTrue(all(len(e["md5"]) == 32 for e in headers))
        first, last = metadata["begin"] + 2, metadata["begin"] + 4
        part = tool("read", f"--path={self.stopped}", f"--from={first}", "--to", str(last))[1][1:]
        self.assertEqual([p["position"] for p in part], [first, first + 1, last])

    def test_dump_agrees_with_python_thrift_and_with_what_was_created(self):
        status, lines, _ = tool("dump", "-path", self.stopped)
        self.assertEqual(status, OK)
        status, out = raw("dump", "--path", self.stopped, "--thrift-json")
        self.assertEqual(status, OK)
        entries, tasks = [], {}
        for line in out.splitlines():
            entry = self.storage.LogEntry()
            entry.read(TJSONProtocol(TMemoryBuffer(line)))
            apply_entry(tasks, entry)
            entries.append(entry)
        status_of = self.api.ScheduleStatus._VALUES_TO_NAMES
        self.assertEqual({k: status_of[v] for k, v in tasks.items()}, self.tasks)
        self.assertEqual([set(line["entry"]) for line in lines],
                         [{k for k in ("snapshot", "transaction", "noop") if getattr(e, k) is not None} for e in entries])
        self.assertTrue(all(a["last"] < b["first"] for a, b in zip(lines, lines[1:])))
        for line, entry in zip(lines, entries):
            if entry.transaction is not None:
                self.assertEqual([list(op) for op in line["entry"]["transaction"]["ops"]],
                                 [[k for k, v in vars(op).items() if v is not None] for op in entry.transaction.ops])

    # ---- damage ----

    def test_flipped_bits_are_found_or_do_not_matter(self):
        print(f"replay: SEED={SEED} LOG_FLIPS={FLIPS} BUILD={os.environ['BUILD']} python3 test/e2e/test_log_tool.py")
        rng, found = random.Random(SEED), 0
        original = raw("dump", "--path", self.stopped)
        folder = self.damaged()
        data = os.path.join(folder, "data.mdb")
        for _ in range(FLIPS):
            at, bit = rng.randrange(8192, os.path.getsize(data)), 1 << rng.randrange(8)
            self.flip(data, at, bit)
            status, lines, err = tool("verify", f"--path={folder}")
            self.assertIn(status, (OK, DAMAGED, FAILED), err)
            if status == OK:
                self.assertEqual(raw("dump", f"--path={folder}"), original, f"byte {at} bit {bit}")
            else:
                self.assertTrue(err if status == FAILED else any("finding" in line for line in lines))
                found += 1
            self.flip(data, at, bit)
        print(f"{found} of {FLIPS} flips were found, the others are in unused space")
        self.assertGreater(found, FLIPS // 10)

    @staticmethod
    def flip(path, at, bit):
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ bit]))

    def test_a_damaged_record_is_named_and_the_others_are_read(self):
        folder = self.damaged()
        data = os.path.join(folder, "data.mdb")
        whole = tool("read", "--path", folder)[1]
        with open(data, "rb") as f:
            content = f.read()
        # The text is in live records, and in pages that are free again.
        at = content.find(b"sleep 1000")
        while at >= 0:
            self.flip(data, at, 4)
            status, lines, err = tool("verify", "--path", folder)
            if status != OK:
                break
            self.flip(data, at, 4)
            at = content.find(b"sleep 1000", at + 1)
        self.assertEqual((status, err), (DAMAGED, ""))
        record = next(line for line in lines if line.get("finding") == "record")
        status, after, err = tool("read", "--path", folder)
        self.assertEqual(status, DAMAGED)
        self.assertIn(f"position {record['position']} is damaged", err)
        without = [p for p in whole[1:] if p["position"] != record["position"]]
        self.assertEqual([p["position"] for p in after[1:]], [p["position"] for p in without])
        self.assertEqual([p.get("crc32") for p in after[1:]], [p.get("crc32") for p in without])

    # ---- what is refused ----

    def refused(self, *words, says, status=FAILED):
        got, lines, err = tool(*words)
        self.assertEqual((got, lines), (status, []), err)
        self.assertIn(says, err)

    def test_folders_that_are_not_a_stopped_log(self):
        status, lines, err = self.busy
        self.assertEqual((status, lines), (FAILED, []))
        self.assertIn("another process has it open", err)
        folder = os.path.join(self.dir, "other")
        self.refused("verify", f"--path={folder}", says="no such folder")
        os.mkdir(folder)
        for command in ("read", "dump", "verify"):
            self.refused(command, f"--path={folder}", says="holds no log")
        self.assertEqual(os.listdir(folder), [])
        with open(os.path.join(folder, "CURRENT"), "w", encoding="ascii") as f:
            f.write("MANIFEST-000001\n")
        self.refused("read", f"--path={folder}", says="LevelDB")
        self.refused("initialize", f"--path={folder}", "--quorum=2", says="LevelDB")
        self.refused("verify", f"--path={PROGRAM}", says="cannot read it")

    def test_wrong_command_lines(self):
        for words in ([], ["fsck"], ["read"], ["verify", "--path"], ["verify", "--path="], ["read", "--path=x", "--from=y"],
                      ["read", "--path=x", "--quorum=2"], ["initialize", "--path=x"], ["initialize", "--path=x", "--quorum=0"],
                      ["initialize", "--path=x", "--quorum=17"], ["verify", "x"], ["read", "--path=x", "--to=-1"]):
            self.refused(*words, says="usage: ", status=USAGE)
        for words in (["--help"], ["help"], ["verify", "--help"]):
            p = subprocess.run([PROGRAM, "log", *words], capture_output=True, text=True, timeout=60)
            self.assertEqual((p.returncode, p.stderr), (OK, ""))
            self.assertIn("usage: aurora-scheduler log read", p.stdout)

    # ---- initialize ----

    def test_initialize_makes_a_replica_that_votes_once(self):
        folder = os.path.join(self.dir, "new")
        status, lines, err = tool("initialize", f"--path={folder}", "--quorum=2")
        self.assertEqual((status, err), (OK, ""))
        made = lines[0]["metadata"]
        self.assertEqual((made["status"], made["quorum"], made["promised"], made["records"]), ("VOTING", 2, 0, 0))
        self.assertNotEqual(int(made["replica"], 16), 0)
        self.assertEqual(tool("read", f"--path={folder}")[1], [{"metadata": made}])
        self.assertEqual(tool("verify", f"--path={folder}")[0], OK)
        before = fingerprint(folder)
        self.refused("initialize", f"--path={folder}", "-native_log_quorum_size=2", says="initialised already (VOTING, quorum size 2)")
        self.assertEqual(fingerprint(folder), before)
        self.refused("initialize", f"--path={self.stopped}", "--quorum=1", says="with entries")

    # ---- import ----

    def imported(self, folder, quorum):
        status, lines, err = tool("import", f"--path={folder}", f"--quorum={quorum}", f"--backup={self.backup}")
        self.assertEqual((status, err), (OK, ""))
        return lines[0]["metadata"]

    def test_import_makes_a_log_of_a_backup(self):
        folder, again = (os.path.join(self.dir, n) for n in ("imported", "imported-again"))
        made = self.imported(folder, 1)
        self.assertEqual((made["status"], made["quorum"], made["begin"]), ("VOTING", 1, 0))
        status, lines, err = tool("verify", f"--path={folder}")
        self.assertEqual((status, err), (OK, ""))
        state = tool("verify", f"--path={self.stopped}")[1][-1]
        self.assertEqual((lines[-1]["tasks"], lines[-1]["notes"]), (len(self.tasks), 0))
        self.assertEqual(lines[-1]["state"], state["state"])
        # Replicas that are made of one backup agree on every position.
        self.imported(again, 1)
        self.assertEqual(tool("read", f"--path={again}")[1][1:], tool("read", f"--path={folder}")[1][1:])
        before = fingerprint(folder)
        self.refused("import", f"--path={folder}", "--quorum=1", f"--backup={self.backup}", says="initialised already")
        self.assertEqual(fingerprint(folder), before)

    def test_import_refuses_what_is_no_backup(self):
        folder = os.path.join(self.dir, "not-imported")
        for backup in (PROGRAM, os.path.join(self.dir, "none"), self.dir):
            self.refused("import", f"--path={folder}", "--quorum=1", f"--backup={backup}", says="nothing was changed")
            self.assertFalse(os.path.exists(folder))

    def test_schedulers_lead_with_an_imported_log(self):
        with Cluster(simulate=True, schedulers=3, start=False) as c:
            for i in range(2):
                self.imported(os.path.join(c.dir, f"log{i}"), 2)
            c.start()  # the third one fetches the log
            self.assertEqual(set(self.statuses(c)), set(self.tasks))


if __name__ == "__main__":
    unittest.main()
