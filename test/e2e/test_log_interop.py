"""The log's entries by an independent library (python3-thrift): what Aurora writes we replay, what we write is what Aurora reads."""
import os
import subprocess
import unittest

from cluster import Cluster
from stored import (api, assert_restored, by_id, config, deduplicated, deflated, encode, framed, java_snapshot, pack, read_backup,
                    reduplicated, storage, stored, task, unframed, unpack)

TOOL = os.path.join(os.environ["BUILD"], "test", "tool_logrecords")
MAX_ENTRY = 512  # small, so that snapshots are cut into frames


def transaction(*ops):
    return storage.LogEntry(transaction=storage.Transaction(ops=list(ops), schemaVersion=1))


def old_state():
    """What a snapshot behind it makes forgotten."""
    return transaction(storage.Op(saveFrameworkId=storage.SaveFrameworkId("old-framework")),
                       storage.Op(saveTasks=storage.SaveTasks({stored(task("old", 0, api.ScheduleStatus.RUNNING, 1000))})),
                       storage.Op(saveQuota=storage.SaveQuota("old", api.ResourceAggregate(
                           {api.Resource(numCpus=1.0), api.Resource(ramMb=1), api.Resource(diskMb=1)}))))


class LogInterop(unittest.TestCase):
    def cluster(self):
        c = Cluster(simulate=True, start=False, flags=[f"-dlog_max_entry_size={MAX_ENTRY}BYTES"])
        self.addCleanup(c.close)
        c.master.start()
        return c

    def tool(self, c, what, data=b""):
        p = subprocess.run([TOOL, os.path.join(c.dir, "log"), what], input=data, capture_output=True, timeout=60)
        self.assertEqual(p.returncode, 0, p.stderr)
        return p.stdout

    def state(self, c):
        """What the scheduler has, by a backup."""
        self.assertEqual(c.rpc("performBackup")["responseCode"], "OK")
        folder = os.path.join(c.dir, "backups")
        (name,) = os.listdir(folder)
        snapshot = read_backup(os.path.join(folder, name))
        os.unlink(os.path.join(folder, name))
        return snapshot

    def start_on(self, entries):
        c = self.cluster()
        self.tool(c, "append", pack([r for e in entries for r in framed(encode(e), MAX_ENTRY)]))
        c.scheduler.start()
        return c

    def test_snapshots_in_all_forms(self):
        snapshot = java_snapshot()
        dedup = deduplicated(snapshot)
        self.assertLess(len(dedup.deduplicatedSnapshot.taskConfigs), len(snapshot.tasks))
        self.assertGreater(len(framed(encode(deflated(dedup)), MAX_ENTRY)), 1)
        for entry in (deflated(dedup), dedup, storage.LogEntry(snapshot=snapshot), deflated(storage.LogEntry(snapshot=snapshot))):
            with self.subTest(next(k for k, v in vars(entry).items() if v)):
                c = self.start_on([storage.LogEntry(noop=True), old_state(), entry])
                assert_restored(self, self.state(c), snapshot)
                self.assertEqual(c.scheduler.var("scheduler_log_bad_frames_read"), 0)
                c.close()

    def test_transactions_behind_a_snapshot(self):
        snapshot = java_snapshot()
        gone = "www-prod-a-1-java"
        added = stored(task("added", 0, api.ScheduleStatus.RUNNING, snapshot.timestamp))
        host = stored(api.HostAttributes("host-2", {api.Attribute("rack", {"r9"})}, api.MaintenanceMode.NONE, "agent-9"))
        cron = stored(api.JobConfiguration(key=api.JobKey("www", "prod", "cron2"), cronSchedule="* * * * *", taskConfig=config("cron2"),
                                           cronCollisionPolicy=api.CronCollisionPolicy.KILL_EXISTING, instanceCount=1))
        key = next(iter(snapshot.jobUpdateDetails)).details.update.summary.key
        c = self.start_on([
            deflated(deduplicated(snapshot)),
            transaction(storage.Op(removeTasks=storage.RemoveTasks({gone})), storage.Op(saveTasks=storage.SaveTasks({added}))),
            storage.LogEntry(noop=True),
            transaction(storage.Op(saveHostAttributes=storage.SaveHostAttributes(host)), storage.Op(removeQuota=storage.RemoveQuota("www")),
                        storage.Op(saveCronJob=storage.SaveCronJob(cron)),
                        storage.Op(removeJob=storage.RemoveJob(api.JobKey("www", "prod", "cron"))),
                        storage.Op(removeHostMaintenanceRequest=storage.RemoveHostMaintenanceRequest("host-2")),
                        storage.Op(removeJobUpdate=storage.RemoveJobUpdates({key})))])
        snapshot.tasks = {t for t in snapshot.tasks if t.assignedTask.taskId != gone} | {added}
        snapshot.hostAttributes = {h for h in snapshot.hostAttributes if h.host != "host-2"} | {host}
        snapshot.cronJobs = {storage.StoredCronJob(jobConfiguration=cron)}
        snapshot.quotaConfigurations = snapshot.jobUpdateDetails = snapshot.hostMaintenanceRequests = set()
        assert_restored(self, self.state(c), snapshot)

    def test_what_we_write(self):
        """Our own snapshot, framed, and transactions behind it."""
        snapshot = java_snapshot()
        c = self.start_on([deflated(deduplicated(snapshot))])
        self.assertEqual(c.rpc("snapshot")["responseCode"], "OK")
        key = api.JobKey("www", "prod", "new")
        job = {"key": vars(key), "instanceCount": 3, "taskConfig": {
            "job": vars(key), "resources": [{"numCpus": 0.1}, {"ramMb": 1}, {"diskMb": 1}],
            "executorConfig": {"name": "CommandExecutor", "data": "z" * 5 * MAX_ENTRY}}}
        self.assertEqual(c.rpc("createJob", description=job)["responseCode"], "OK")
        self.assertEqual(c.scheduler.stop(), 0)
        entries = unframed(unpack(self.tool(c, "read")))
        dedup, behind = entries[0], entries[1:]
        self.assertEqual(len(dedup.deduplicatedSnapshot.taskConfigs), len({repr(t.assignedTask.task) for t in snapshot.tasks}))
        assert_restored(self, reduplicated(dedup), snapshot)
        self.assertTrue(all(e.transaction or e.noop for e in behind))
        saved = [t for e in behind if e.transaction for op in e.transaction.ops if op.saveTasks for t in op.saveTasks.tasks]
        self.assertEqual({t.assignedTask.instanceId for t in by_id(saved).values() if t.assignedTask.task.job == key}, {0, 1, 2})


if __name__ == "__main__":
    unittest.main()
