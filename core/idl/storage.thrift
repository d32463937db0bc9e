/**
 * What is kept in the replicated log and in backups: Apache Aurora's names and field ids. A number that is missing was
 * used by an older version: never use it again.
 */
include "api.thrift"

namespace py gen.apache.aurora.storage

struct SaveFrameworkId {
  1: string id
}

struct SaveCronJob {
  2: api.JobConfiguration jobConfig
}

/** Of a cron job. */
struct RemoveJob {
  2: api.JobKey jobKey
}

struct SaveTasks {
  1: set<api.ScheduledTask> tasks
}

struct RemoveTasks {
  1: set<string> taskIds
}

struct SaveQuota {
  1: string role
  2: api.ResourceAggregate quota
}

struct RemoveQuota {
  1: string role
}

struct SaveHostAttributes {
  1: api.HostAttributes hostAttributes
}

/** No longer written; read and ignored, like RemoveLock and PruneJobUpdateHistory. */
struct SaveLock {
  1: api.Lock lock
}

struct RemoveLock {
  1: api.LockKey lockKey
}

struct SaveJobUpdate {
  1: api.JobUpdate jobUpdate
}

struct SaveJobUpdateEvent {
  1: api.JobUpdateEvent event
  3: api.JobUpdateKey key
}

struct SaveJobInstanceUpdateEvent {
  1: api.JobInstanceUpdateEvent event
  3: api.JobUpdateKey key
}

struct PruneJobUpdateHistory {
  1: i32 perJobRetainCount
  2: i64 historyPruneThresholdMs
}

struct RemoveJobUpdates {
  1: set<api.JobUpdateKey> keys
}

struct SaveHostMaintenanceRequest {
  1: api.HostMaintenanceRequest hostMaintenanceRequest
}

struct RemoveHostMaintenanceRequest {
  1: string host
}

/** One change of durable state. */
union Op {
  1: SaveFrameworkId saveFrameworkId
  2: SaveCronJob saveCronJob
  5: RemoveJob removeJob
  6: SaveTasks saveTasks
  7: RemoveTasks removeTasks
  8: SaveQuota saveQuota
  9: RemoveQuota removeQuota
  10: SaveHostAttributes saveHostAttributes
  12: SaveLock saveLock
  13: RemoveLock removeLock
  14: SaveJobUpdate saveJobUpdate
  15: SaveJobUpdateEvent saveJobUpdateEvent
  16: SaveJobInstanceUpdateEvent saveJobInstanceUpdateEvent
  17: PruneJobUpdateHistory pruneJobUpdateHistory
  18: RemoveJobUpdates removeJobUpdate
  19: SaveHostMaintenanceRequest saveHostMaintenanceRequest
  20: RemoveHostMaintenanceRequest removeHostMaintenanceRequest
}

/** Changes that become durable together. */
struct Transaction {
  1: list<Op> ops
  /** Always 1; never checked. */
  2: i32 schemaVersion
}

struct StoredCronJob {
  3: api.JobConfiguration jobConfiguration
}

struct SchedulerMetadata {
  1: string frameworkId
  8: map<string, string> details
}

struct QuotaConfiguration {
  1: string role
  2: api.ResourceAggregate quota
}

struct StoredJobUpdateDetails {
  1: api.JobUpdateDetails details
}

/** The whole state; also the content of a backup file. */
struct Snapshot {
  /** Milliseconds since the epoch. */
  1: i64 timestamp
  3: set<api.HostAttributes> hostAttributes
  4: set<api.ScheduledTask> tasks
  5: set<StoredCronJob> cronJobs
  6: SchedulerMetadata schedulerMetadata
  8: set<QuotaConfiguration> quotaConfigurations
  10: set<StoredJobUpdateDetails> jobUpdateDetails
  13: set<api.HostMaintenanceRequest> hostMaintenanceRequests
}

/** Announces an entry that is cut into chunks, one log record each. */
struct FrameHeader {
  1: i32 chunkCount
  /** MD5 of the whole entry. */
  2: binary checksum
}

struct FrameChunk {
  2: binary data
}

union Frame {
  1: FrameHeader header
  2: FrameChunk chunk
}

/** A task whose config is kept once for all tasks that share it. */
struct DeduplicatedScheduledTask {
  /** assignedTask.task is unset. */
  1: api.ScheduledTask partialScheduledTask
  /** Index into DeduplicatedSnapshot.taskConfigs. */
  2: i32 taskConfigId
}

struct DeduplicatedSnapshot {
  /** tasks is unset. */
  1: Snapshot partialSnapshot
  2: list<DeduplicatedScheduledTask> partialTasks
  3: list<api.TaskConfig> taskConfigs
}

/** One record of the log. */
union LogEntry {
  1: Snapshot snapshot
  2: Transaction transaction
  3: bool noop
  4: Frame frame
  /** A LogEntry in zlib format. */
  5: binary deflatedEntry
  6: DeduplicatedSnapshot deduplicatedSnapshot
}
