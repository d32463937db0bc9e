"""What Aurora stores, made and read by python3-thrift, which shares no code with us: snapshots with something of everything, as backups
and as entries of the log."""
import hashlib
import struct
import time
import zlib

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TType
from thrift.transport.TTransport import TMemoryBuffer

import thrift_api

api, service, storage = thrift_api.generate(with_storage=True)


def decode(cls, data):
    transport = TMemoryBuffer(data)
    value = cls()
    value.read(TBinaryProtocol(transport))
    assert not transport.read(1), "bytes are left"
    return value


def encode(value):
    transport = TMemoryBuffer()
    value.write(TBinaryProtocol(transport))
    return transport.getvalue()


def read_backup(path):
    with open(path, "rb") as f:
        return decode(storage.Snapshot, f.read())


def stored(value):
    """As Aurora writes it: numbers and collections are always there. Enums are to be set already."""
    if isinstance(value, (set, list)):
        return type(value)(stored(v) for v in value)
    if not hasattr(value, "thrift_spec"):
        return value
    union = type(value).__name__ in ("Resource", "TaskConstraint", "Container", "SlaPolicy", "JobUpdateStrategy", "Image")
    empty = {TType.BOOL: lambda: False, TType.I32: int, TType.I64: int, TType.DOUBLE: float, TType.SET: set, TType.LIST: list,
             TType.MAP: dict}
    for _, ttype, name, _, _ in filter(None, value.thrift_spec):
        member = getattr(value, name)
        if member is not None:
            setattr(value, name, stored(member))
        elif not union and ttype in empty:
            setattr(value, name, empty[ttype]())
    return value


def config(name, **more):
    return api.TaskConfig(**dict(dict(
        job=api.JobKey("www", "prod", name), owner=api.Identity("me"), isService=True, priority=3, maxTaskFailures=2, production=True,
        constraints={api.Constraint("rack", api.TaskConstraint(value=api.ValueConstraint(True, {"r1", "r2"}))),
                     api.Constraint("host", api.TaskConstraint(limit=api.LimitConstraint(1)))},
        taskLinks={"http": "http://%host%:%port:http%"}, contactEmail="me@example.com",
        executorConfig=api.ExecutorConfig("AuroraExecutor", '{"task": "\u00e4"}'), metadata={api.Metadata("k", "v")},
        container=api.Container(docker=api.DockerContainer("image", [api.DockerParameter("n", "v")])), tier="preferred",
        resources={api.Resource(numCpus=0.5), api.Resource(ramMb=128), api.Resource(diskMb=64), api.Resource(namedPort="http")},
        mesosFetcherUris={api.MesosFetcherURI("http://x", True, False, "y")}, partitionPolicy=api.PartitionPolicy(True, 60),
        slaPolicy=api.SlaPolicy(countSlaPolicy=api.CountSlaPolicy(1, 30))), **more))


def task(name, instance, status, now_ms):
    events = [api.TaskEvent(now_ms + i, s, message="why" if i else None, scheduler="host.example.com")
              for i, s in enumerate([api.ScheduleStatus.PENDING, api.ScheduleStatus.ASSIGNED, status])]
    return api.ScheduledTask(
        assignedTask=api.AssignedTask(taskId=f"www-prod-{name}-{instance}-java", slaveId="agent-1", slaveHost="host-1",
                                      task=config(name), assignedPorts={"http": 31000 + instance}, instanceId=instance),
        status=status, failureCount=1, timesPartitioned=2, taskEvents=events, ancestorId="old" if instance else None)


def update(now_ms):
    key = api.JobUpdateKey(api.JobKey("www", "prod", "a"), "u-1")
    summary = api.JobUpdateSummary(key=key, user="me", metadata={api.Metadata("k", "v")}, state=api.JobUpdateState(
        api.JobUpdateStatus.ROLLED_FORWARD, now_ms, now_ms + 9))
    settings = api.JobUpdateSettings(updateGroupSize=2, maxPerInstanceFailures=1, rollbackOnFailure=True,
                                     updateOnlyTheseInstances={api.Range(0, 3)},
                                     updateStrategy=api.JobUpdateStrategy(queueStrategy=api.QueueJobUpdateStrategy(2)))
    return storage.StoredJobUpdateDetails(details=api.JobUpdateDetails(
        update=api.JobUpdate(summary=summary, instructions=api.JobUpdateInstructions(
            initialState={api.InstanceTaskConfig(config("a", priority=1), {api.Range(0, 1), api.Range(3, 3)})},
            desiredState=api.InstanceTaskConfig(config("a"), {api.Range(0, 3)}), settings=settings)),
        updateEvents=[api.JobUpdateEvent(api.JobUpdateStatus.ROLLING_FORWARD, now_ms, user="me", message="go"),
                      api.JobUpdateEvent(api.JobUpdateStatus.ROLLED_FORWARD, now_ms + 9)],
        instanceEvents=[api.JobInstanceUpdateEvent(1, now_ms + 5, api.JobUpdateAction.INSTANCE_UPDATED, message="done")]))


def java_snapshot():
    """Something of everything, as a scheduler of Aurora leaves it."""
    now_ms = int(time.time() * 1000) - 60000
    running, finished = api.ScheduleStatus.RUNNING, api.ScheduleStatus.FINISHED
    quota = api.ResourceAggregate({api.Resource(numCpus=4.5), api.Resource(ramMb=1024), api.Resource(diskMb=2048)})
    cron = api.JobConfiguration(key=api.JobKey("www", "prod", "cron"), owner=api.Identity("me"), cronSchedule="0 5 * * *",
                                cronCollisionPolicy=api.CronCollisionPolicy.CANCEL_NEW, taskConfig=config("cron"), instanceCount=3)
    return stored(storage.Snapshot(
        timestamp=now_ms,
        hostAttributes={api.HostAttributes("host-1", {api.Attribute("rack", {"r1"}), api.Attribute("host", {"host-1"})},
                                           api.MaintenanceMode.NONE, "agent-1"),
                        api.HostAttributes("host-2", set(), api.MaintenanceMode.DRAINED, "agent-2")},
        tasks={task("a", i, running if i else finished, now_ms) for i in range(4)} | {task("b", 0, running, now_ms)},
        cronJobs={storage.StoredCronJob(jobConfiguration=cron)},
        schedulerMetadata=storage.SchedulerMetadata(frameworkId="java-framework-0001", details={"build.git.revision": "abc"}),
        quotaConfigurations={storage.QuotaConfiguration(role="www", quota=quota)},
        jobUpdateDetails={update(now_ms)},
        hostMaintenanceRequests={api.HostMaintenanceRequest("host-2", api.SlaPolicy(percentageSlaPolicy=api.PercentageSlaPolicy(95.0, 60)),
                                                            120, now_ms)}))


def by_id(tasks):
    return {t.assignedTask.taskId: t for t in tasks}


def assert_restored(test, now, expected):
    """Two snapshots are the same but for when and by whom they were made, and for hosts of this test's own master."""
    test.assertEqual(by_id(now.tasks), by_id(expected.tasks))
    for part in ("cronJobs", "quotaConfigurations", "jobUpdateDetails", "hostMaintenanceRequests"):
        test.assertEqual(getattr(now, part), getattr(expected, part), part)
    test.assertEqual({h for h in now.hostAttributes if h.host.startswith("host-")}, expected.hostAttributes)
    test.assertEqual(now.schedulerMetadata.frameworkId, expected.schedulerMetadata.frameworkId)


# ---------------- entries of the log ----------------

def deduplicated(snapshot):
    """The snapshot as a LogEntry with each config once."""
    configs, partial = [], []
    for t in snapshot.tasks:
        if t.assignedTask.task not in configs:
            configs.append(t.assignedTask.task)
        fields = dict(vars(t), assignedTask=api.AssignedTask(**dict(vars(t.assignedTask), task=None)))
        partial.append(storage.DeduplicatedScheduledTask(partialScheduledTask=api.ScheduledTask(**fields),
                                                         taskConfigId=configs.index(t.assignedTask.task)))
    rest = storage.Snapshot(**dict(vars(snapshot), tasks=None))
    return storage.LogEntry(deduplicatedSnapshot=storage.DeduplicatedSnapshot(partialSnapshot=rest, partialTasks=partial,
                                                                              taskConfigs=configs))


def reduplicated(entry):
    """The other way."""
    d = entry.deduplicatedSnapshot
    tasks = set()
    for p in d.partialTasks or []:
        t = p.partialScheduledTask
        t.assignedTask.task = d.taskConfigs[p.taskConfigId]
        tasks.add(t)
    d.partialSnapshot.tasks = tasks
    return d.partialSnapshot


def deflated(entry):
    return storage.LogEntry(deflatedEntry=zlib.compress(encode(entry), 3))


def framed(data, max_bytes):
    """The records of an entry, as EntrySerializer cuts it."""
    if len(data) <= max_bytes:
        return [data]
    chunks = [data[i:i + max_bytes] for i in range(0, len(data), max_bytes)]
    header = storage.FrameHeader(chunkCount=len(chunks), checksum=hashlib.md5(data).digest())
    return [encode(storage.LogEntry(frame=storage.Frame(header=header)))] + [
        encode(storage.LogEntry(frame=storage.Frame(chunk=storage.FrameChunk(data=c)))) for c in chunks]


def unframed(records):
    """LogEntries out of records. The last frame may be cut short by the end of its writer."""
    entries, at = [], 0
    while at < len(records):
        e = decode(storage.LogEntry, records[at])
        at += 1
        if e.frame:
            n = e.frame.header.chunkCount
            chunks = [decode(storage.LogEntry, r).frame.chunk.data for r in records[at:at + n]]
            if len(chunks) < n:
                break
            data = b"".join(chunks)
            assert hashlib.md5(data).digest() == e.frame.header.checksum, "a damaged frame"
            e, at = decode(storage.LogEntry, data), at + n
        entries.append(decode(storage.LogEntry, zlib.decompress(e.deflatedEntry)) if e.deflatedEntry else e)
    return entries


def pack(records):
    """For tool_logrecords."""
    return b"".join(struct.pack(">I", len(r)) + r for r in records)


def unpack(data):
    records = []
    while data:
        (n,) = struct.unpack(">I", data[:4])
        records.append(data[4:4 + n])
        data = data[4 + n:]
    return records
