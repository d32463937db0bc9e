"""Backups and recovery from them. Their files are read and written by python3-thrift, which shares no code with us: what we write is
what getTasksStatus says, and what Aurora writes is what we restore."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from cluster import Cluster, wait_until
from stored import api, assert_restored, by_id, encode, java_snapshot, read_backup, service
import thrift_api

KEY = {"role": "www", "environment": "prod", "name": "hello"}
NAME = re.compile(r"scheduler-backup-\d{4}-\d\d-\d\d-\d\d-\d\d")
WAIT_S = 60
QUEUE = 64  # LIMIT_RECOVERY_CALLS


def description(name="hello", instances=1, data="sleep 1000"):
    key = dict(KEY, name=name)
    return {"key": key, "owner": {"user": "www"}, "instanceCount": instances,
            "taskConfig": {"job": key, "owner": {"user": "www"}, "isService": True,
                           "resources": [{"numCpus": 0.01}, {"ramMb": 1}, {"diskMb": 1}],
                           "executorConfig": {"name": "CommandExecutor", "data": data}}}


# ---------------- the tests' base ----------------

class BackupTest(unittest.TestCase):
    def code(self, answer):
        return answer["responseCode"], " ".join(d.get("message", "") for d in answer["details"])

    def assert_ok(self, answer):
        self.assertEqual(self.code(answer), ("OK", ""))
        return answer.get("result")

    def assert_error(self, answer, message):
        self.assertEqual(self.code(answer), ("ERROR", message))

    def names(self, c):
        return self.assert_ok(c.rpc("listBackups"))["listBackupsResult"]["backups"]

    def staged(self, c, **query):
        tasks = self.assert_ok(c.rpc("queryRecovery", query=query))["queryRecoveryResult"]["tasks"]
        return sorted(t["assignedTask"]["taskId"] for t in tasks)

    def back_up(self, c):
        """A new backup of now; its path."""
        for name in self.names(c):
            os.unlink(os.path.join(c.backups, name))
        self.assert_ok(c.rpc("performBackup"))
        (name,) = self.names(c)
        return os.path.join(c.backups, name)

    def put(self, c, name, data):
        with open(os.path.join(c.backups, name), "wb") as f:
            f.write(data)
        return name

    def cluster(self, **more):
        c = Cluster(**dict(dict(simulate=True), **more))
        c.backups = os.path.join(c.dir, "backups")
        self.addCleanup(c.close)
        c.start()
        return c

    def commit(self, c):
        """Commits; the scheduler has ended then."""
        self.assert_ok(c.rpc("commitRecovery"))
        self.assertEqual(c.scheduler.popen.wait(WAIT_S), 0)


class WrittenTest(BackupTest):
    def test_a_backup_is_what_there_is(self):
        c = self.cluster(agents=3)
        for name in ("hello", "other"):
            self.assert_ok(c.rpc("createJob", description=description(name, 20)))
        c.wait_statuses(["RUNNING"] * 40)
        snapshot = read_backup(self.back_up(c))
        client, _ = thrift_api.client(service, c.scheduler.http_port, thrift_api.BINARY_TYPE)
        told = client.getTasksStatus(api.TaskQuery()).result.scheduleStatusResult.tasks
        self.assertEqual(by_id(snapshot.tasks), by_id(told))
        self.assertEqual(len(snapshot.hostAttributes), 1)  # all agents of mesos-local are called the same
        self.assertIn(snapshot.schedulerMetadata.frameworkId, c.scheduler.log)
        self.assertLess(abs(snapshot.timestamp - time.time() * 1000), 120000)
        self.assertEqual(c.scheduler.var("scheduler_backup_success"), 1)
        # The methods are the same in all forms.
        self.assertEqual(client.listBackups().result.listBackupsResult.backups, set(self.names(c)))
        self.assertEqual(client.stageRecovery(self.names(c)[0]).responseCode, api.ResponseCode.OK)
        self.assertEqual(by_id(client.queryRecovery(api.TaskQuery()).result.queryRecoveryResult.tasks), by_id(told))

    def test_made_with_snapshots_and_pruned(self):
        c = self.cluster(flags=["-dlog_snapshot_interval=300ms", "-backup_interval=200ms", "-max_saved_backups=2"])
        for name in ("scheduler-backup-2001-01-01-00-00", "scheduler-backup-2001-01-01-00-01", "other"):
            self.put(c, name, b"")
        wait_until(lambda: c.scheduler.var("scheduler_backup_success") >= 2, WAIT_S, what="backups")
        made = [n for n in self.names(c) if NAME.fullmatch(n)]
        self.assertLessEqual(len(made), 2)
        self.assertNotIn("scheduler-backup-2001-01-01-00-00", made)
        self.assertIn("other", self.names(c))
        self.assertIsNotNone(read_backup(os.path.join(c.backups, made[-1])).timestamp)
        self.assertGreaterEqual(c.scheduler.var("scheduler_log_snapshots"), 2)

    def test_snapshot_by_rpc(self):
        c = self.cluster()
        self.assert_ok(c.rpc("createJob", description=description()))
        before = c.scheduler.var("scheduler_log_snapshots")
        self.assert_ok(c.rpc("snapshot"))
        self.assertEqual(c.scheduler.var("scheduler_log_snapshots"), before + 1)
        c.scheduler.kill9()
        c.scheduler.start()
        self.assertEqual(len(c.tasks()), 1)

    def test_full_disk(self):
        folder = tempfile.mkdtemp(prefix="backup_full.")
        self.addCleanup(shutil.rmtree, folder)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True).returncode:
            self.skipTest("cannot mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", "-l", folder])
        c = self.cluster(flags=[])
        self.assertEqual(c.scheduler.stop(), 0)
        c.scheduler.argv = [re.sub(r"^-backup_dir=.*", f"-backup_dir={folder}", a) for a in c.scheduler.argv]
        c.backups = folder
        c.scheduler.start()
        self.assert_ok(c.rpc("createJob", description=description(instances=300, data="x" * 2000)))
        self.assert_ok(c.rpc("performBackup"))
        self.assertEqual(c.scheduler.var("scheduler_backup_failed"), 1)
        self.assertEqual(self.names(c), [])
        self.assertIn("No space left on device", c.scheduler.log)
        self.assert_ok(c.rpc("createJob", description=description("still")))
        self.assert_ok(c.rpc("killTasks", job=KEY))
        subprocess.run(["mount", "-o", "remount,size=16m", folder], check=True)
        self.assert_ok(c.rpc("performBackup"))
        self.assertEqual(c.scheduler.var("scheduler_backup_success"), 1)
        self.assertEqual(len(read_backup(os.path.join(folder, self.names(c)[0])).tasks), len(c.tasks()))

    def test_folder_that_cannot_be_used(self):
        c = Cluster(start=False)
        self.addCleanup(c.close)
        for folder, why in (("/proc/backups", "No such file or directory"), ("/dev/null", "File exists|Not a directory")):
            argv = [a for a in c.scheduler.argv if not a.startswith("-backup_dir")] + [f"-backup_dir={folder}"]
            p = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT_S, env=dict(os.environ, **c.scheduler.env))
            self.assertEqual(p.returncode, 1)
            self.assertRegex(p.stderr, f"flag -backup_dir: {folder} can't be used: ({why})")

    def test_without_a_folder(self):
        c = self.cluster()
        c.scheduler.stop()
        c.scheduler.argv = [a for a in c.scheduler.argv if not a.startswith("-backup_dir")]
        c.scheduler.start()
        for method in ("performBackup", "listBackups"):
            self.assert_error(c.rpc(method), "Flag -backup_dir is not set.")
        self.assert_ok(c.rpc("snapshot"))


class RestoredTest(BackupTest):
    def test_a_backup_of_aurora(self):
        c = self.cluster()
        self.assert_ok(c.rpc("createJob", description=description()))
        c.wait_statuses(["RUNNING"])
        snapshot = java_snapshot()
        name = self.put(c, "scheduler-backup-2020-02-29-23-59", encode(snapshot))
        self.assert_ok(c.rpc("stageRecovery", backupId=name))
        self.assertEqual(self.staged(c), sorted(by_id(snapshot.tasks)))
        self.assertEqual(self.staged(c, jobName="b"), ["www-prod-b-0-java"])
        self.assertEqual(len(c.tasks()), 1)  # nothing has happened yet
        self.assert_ok(c.rpc("deleteRecoveryTasks", query={"jobName": "a", "instanceIds": [1, 2]}))
        snapshot.tasks = {t for t in snapshot.tasks if t.assignedTask.instanceId not in (1, 2)}
        self.assertEqual(self.staged(c), sorted(by_id(snapshot.tasks)))
        self.commit(c)

        c.scheduler.start()
        self.assertIn("registered framework=java-framework-0001", c.scheduler.log)
        self.assertEqual(sorted(t["assignedTask"]["taskId"] for t in c.tasks()), sorted(by_id(snapshot.tasks)))
        assert_restored(self, read_backup(self.back_up(c)), snapshot)
        # And what the log holds is that alone.
        c.scheduler.kill9()
        c.scheduler.start()
        assert_restored(self, read_backup(self.back_up(c)), snapshot)

    def test_into_a_new_log_before_registration(self):
        """What is left when the log is lost: no framework of ours is registered, and then it is that of the backup."""
        c = Cluster(simulate=True, start=False)
        self.addCleanup(c.close)
        c.backups = os.path.join(c.dir, "backups")
        c.scheduler.start(active=False)
        wait_until(lambda: c.rpc("getTasksStatus", query={})["responseCode"] == "OK", WAIT_S, what="storage is ready")
        self.assertEqual(c.scheduler.var("scheduler_lifecycle_LEADER_AWAITING_REGISTRATION"), 1)
        snapshot = java_snapshot()
        self.assert_ok(c.rpc("stageRecovery", backupId=self.put(c, "java", encode(snapshot))))
        self.commit(c)
        self.assertNotIn("mesos_registered", c.scheduler.log)
        c.master.start()
        c.scheduler.start()
        assert_restored(self, read_backup(self.back_up(c)), snapshot)

    def test_unload_and_stage_another(self):
        c = self.cluster()
        self.assert_ok(c.rpc("createJob", description=description(instances=3)))
        path = self.back_up(c)
        mine, java = os.path.basename(path), self.put(c, "java", encode(java_snapshot()))
        self.assert_ok(c.rpc("stageRecovery", backupId=java))
        self.assert_error(c.rpc("stageRecovery", backupId=mine), "Another backup is already loaded.")
        self.assertEqual(len(self.staged(c)), 5)
        self.assert_ok(c.rpc("unloadRecovery"))
        self.assert_error(c.rpc("queryRecovery", query={}), "No backup loaded.")
        self.assert_ok(c.rpc("stageRecovery", backupId=mine))
        self.assertEqual(len(self.staged(c)), 3)

    def test_what_is_refused(self):
        c = self.cluster()
        for method, args in (("queryRecovery", {"query": {}}), ("deleteRecoveryTasks", {"query": {}}), ("commitRecovery", {})):
            self.assert_error(c.rpc(method, **args), "No backup loaded.")
        self.assert_ok(c.rpc("unloadRecovery"))
        self.assert_error(c.rpc("stageRecovery", backupId="none"), f"Backup {c.backups}/none does not exist.")
        for name in ("../log/data.mdb", "/etc/passwd", "", ".", ".."):
            self.assert_error(c.rpc("stageRecovery", backupId=name), f"'{name}' is not the name of a backup.")
        good = encode(java_snapshot())
        tasks = good.index(b"\x0e\x00\x04\x0c\x00\x00\x00\x05")  # the head of the set of tasks
        bad = {"empty": b"", "cut": good[:-100], "text": b"no backup at all", "zeros": bytes(4096), "longer": good + b"\0",
               "counts": good[:tasks + 4] + b"\x7f\xff\xff\xff" + good[tasks + 8:],
               "more": good[:tasks + 4] + b"\x00\x0f\xff\xff" + good[tasks + 8:]}
        for name, data in bad.items():
            self.put(c, name, data)
            code, message = self.code(c.rpc("stageRecovery", backupId=name))
            self.assertEqual((code, message.startswith(f"Failed to decode backup {c.backups}/{name}: ")), ("ERROR", True), message)
        self.assert_error(c.rpc("commitRecovery"), "No backup loaded.")
        self.assert_ok(c.rpc("createJob", description=description()))

    def test_what_is_younger_ends(self):
        """Tasks of after the backup: Mesos reports them, nobody knows them, they are killed. The others have not noticed."""
        c = self.cluster(flags=["-reconciliation_initial_delay=1secs", "-reconciliation_schedule_spread=1secs"])

        def running():
            state = json.loads(c.master.get("/state?n=1000"))
            return sorted(t["id"].split("-")[2] for t in state["tasks"] if t["state"] == "TASK_RUNNING")
        self.assert_ok(c.rpc("createJob", description=description("old", 3)))
        c.wait_statuses(["RUNNING"] * 3)
        path = self.back_up(c)
        self.assert_ok(c.rpc("createJob", description=description("young", 2)))
        c.wait_statuses(["RUNNING"] * 5)
        self.assertEqual(running(), ["old"] * 3 + ["young"] * 2)
        self.assert_ok(c.rpc("stageRecovery", backupId=os.path.basename(path)))
        self.commit(c)
        c.scheduler.start()
        wait_until(lambda: running() == ["old"] * 3, WAIT_S, what="the young tasks have ended")
        self.assertEqual([t["status"] for t in c.tasks()], ["RUNNING"] * 3)

    def test_calls_wait_in_a_bounded_queue(self):
        """All at once, since the scheduler stands still while they are sent."""
        c = self.cluster()
        for i in range(2000):
            self.put(c, f"f{i}", b"")
        request = b"POST /api/v1/listBackups HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        os.kill(c.scheduler.pid, signal.SIGSTOP)
        calls = [socket.create_connection(("127.0.0.1", c.scheduler.http_port)) for _ in range(100)]
        for s in calls:
            s.sendall(request)
        os.kill(c.scheduler.pid, signal.SIGCONT)
        answers = []
        for s in calls:
            with s, s.makefile("rb") as f:
                answers.append(json.loads(f.read().split(b"\r\n\r\n", 1)[1]))
        served = [a for a in answers if a["responseCode"] == "OK"]
        refused = [self.code(a) for a in answers if a["responseCode"] != "OK"]
        self.assertGreaterEqual(len(served), QUEUE)
        self.assertTrue(all(len(a["result"]["listBackupsResult"]["backups"]) == 2000 for a in served))
        self.assertEqual(set(refused), {("ERROR_TRANSIENT", "Too many calls wait for a backup")})
        self.assertEqual(len(self.names(c)), 2000)

    def test_no_write_behind_the_restored_state(self):
        """Clients go on writing while a backup is restored: not one task of theirs is there afterwards."""
        c = self.cluster(agents=4)
        self.assert_ok(c.rpc("createJob", description=description("kept", 2000, data="y" * 300)))
        path = self.back_up(c)
        expected = by_id(read_backup(path).tasks)
        self.assert_ok(c.rpc("stageRecovery", backupId=os.path.basename(path)))
        stop, told, refused = threading.Event(), [], []

        def write(number):
            n = 0
            while not stop.is_set():
                n += 1
                try:
                    answer = c.rpc("createJob", description=description(f"lost-{number}-{n}", 5))
                except (OSError, ValueError):
                    return
                (told if answer["responseCode"] == "OK" else refused).append(self.code(answer))
        writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        for w in writers:
            w.start()
        wait_until(lambda: len(told) > 20, WAIT_S, what="writes")
        self.commit(c)
        stop.set()
        for w in writers:
            w.join(WAIT_S)
        self.assertLessEqual(set(refused), {("ERROR_TRANSIENT", "A backup is being restored"),
                                            ("ERROR_TRANSIENT", "Storage is not READY")})
        c.scheduler.start()
        self.assertEqual({t["assignedTask"]["taskId"] for t in c.tasks()}, set(expected))

    def test_three_schedulers(self):
        """The two that go on have it, too, and whoever comes back."""
        c = self.cluster(schedulers=3)
        self.assert_ok(c.rpc("createJob", description=description(instances=3)))
        c.backups = next(a for a in c.scheduler.argv if a.startswith("-backup_dir=")).split("=", 1)[1]
        snapshot = java_snapshot()
        self.put(c, "java", encode(snapshot))
        self.assert_ok(c.rpc("stageRecovery", backupId="java"))
        self.commit(c)
        old = c.scheduler
        for _ in range(2):
            self.assertIsNot(c.leader(), old)
            wait_until(lambda: {t["assignedTask"]["taskId"] for t in c.tasks()} == set(by_id(snapshot.tasks)), WAIT_S,
                       what="the restored tasks")
            self.assertIn("registered framework=java-framework-0001", c.scheduler.log)
            old.start(active=False)
            c.wait_votes()
            wait_until(lambda s=old: s.replica()["lag"] <= 1, WAIT_S, what="it has caught up")
            old = c.scheduler
            old.kill9()

    def test_three_schedulers_with_a_new_log(self):
        """As the documentation says for a log that is lost: no master yet, so no leader is announced, and calls say that they mean it."""
        c = Cluster(simulate=True, start=False, schedulers=3)
        self.addCleanup(c.close)
        c.zk.start()
        for s in c.schedulers:
            s.start(active=False)
        leader = wait_until(lambda: next((s for s in c.schedulers if s.var("scheduler_lifecycle_LEADER_AWAITING_REGISTRATION")), None),
                            WAIT_S, what="one is elected")
        c.backups = next(a for a in leader.argv if a.startswith("-backup_dir=")).split("=", 1)[1]

        def call(method, **args):
            status, _, body = leader.request("POST", f"/api/v1/{method}", json.dumps(args), {"Bypass-Leader-Redirect": "true"})
            self.assertEqual(status, 200)
            return json.loads(body)
        self.assertEqual(leader.request("POST", "/api/v1/listBackups")[0], 503)
        wait_until(lambda: call("getTasksStatus", query={})["responseCode"] == "OK", WAIT_S, what="storage is ready")
        snapshot = java_snapshot()
        self.assert_ok(call("stageRecovery", backupId=self.put(c, "java", encode(snapshot))))
        self.assert_ok(call("commitRecovery"))
        self.assertEqual(leader.popen.wait(WAIT_S), 0)
        c.master.start()
        leader.start(active=False)
        c.leader()
        self.assertIn("registered framework=java-framework-0001", c.scheduler.log)
        self.assertEqual({t["assignedTask"]["taskId"] for t in c.tasks()}, set(by_id(snapshot.tasks)))


if __name__ == "__main__":
    unittest.main()
