/* A snapshot of a large store while somebody writes: how long it takes, how long the loop is away at most, how long
 * the writer waits; then the replay of what was written.
 *
 * A pass of the loop is counted by the clock and by the processor time of the loop's thread: on a busy machine the
 * former holds the turns of other processes, too.
 *
 * Usage: bench_snapshot DIR TASKS [HOSTS [JOBS [ROUNDS]]]. Prints one JSON object. */
#include "core/buf.h"
#include "core/logline.h"
#include "log/log.h"
#include "log/stream.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum { WRITE_EVERY_MS = 2, WRITES_MAX = 1 << 16, MESSAGE_BYTES = 40 };

struct pauses {
    uv_prepare_t prepare;
    uint64_t began, idle, cpu; /* of the present pass */
    uint64_t worst, worst_cpu;
};

struct bench {
    uv_loop_t loop;
    struct log *log;
    struct stream *stream;
    struct store *store;
    bool ready, closed, snapshot_done, writing;
    struct pauses pauses;
    uv_timer_t writer;
    uint64_t began[WRITES_MAX]; /* of the append with that index */
    uint64_t last_durable, first_index;
    uint64_t waits[WRITES_MAX];
    unsigned n_waits;
    uint64_t n_tasks;
};

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int64_t wall_ms(void *arg)
{
    (void)arg;
    return (int64_t)(clock_ns(CLOCK_REALTIME) / 1000000);
}

/* ---- pauses ---- */

static void on_prepare(uv_prepare_t *p)
{
    struct bench *b = p->data;
    struct pauses *w = &b->pauses;
    uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(p->loop), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    uint64_t busy = now - w->began - (idle - w->idle);
    if (w->began && busy > w->worst) w->worst = busy;
    if (w->began && cpu - w->cpu > w->worst_cpu) w->worst_cpu = cpu - w->cpu;
    w->began = now;
    w->idle = idle;
    w->cpu = cpu;
}

static void pauses_begin(struct bench *b)
{
    b->pauses.began = b->pauses.worst = b->pauses.worst_cpu = 0;
}

/* ---- the log ---- */

static struct store *on_snapshot(struct store *state, void *arg)
{
    struct bench *b = arg;
    struct store *old = b->store;
    b->store = state;
    return old;
}

static int on_op(const struct api_op *op, void *arg)
{
    return store_apply(((struct bench *)arg)->store, op);
}

static void on_ready(void *arg)
{
    ((struct bench *)arg)->ready = true;
}

static void on_failed(const char *why, void *arg)
{
    (void)arg;
    fprintf(stderr, "the log failed: %s\n", why);
    exit(1);
}

static void on_durable(uint64_t durable, void *arg)
{
    struct bench *b = arg;
    uint64_t now = uv_hrtime();
    for (uint64_t i = b->last_durable + 1; i <= durable; i++)
        if (b->first_index && i >= b->first_index && b->n_waits < WRITES_MAX)
            b->waits[b->n_waits++] = now - b->began[i % WRITES_MAX];
    b->last_durable = durable;
}

static void begin(struct bench *b, const char *dir)
{
    struct buf err = { 0 }, path = { 0 };
    buf_addf(&path, "%s/log", dir);
    uv_loop_init(&b->loop);
    uv_loop_configure(&b->loop, UV_METRICS_IDLE_TIME);
    struct log_config lc = { .loop = &b->loop,
                             .path = buf_cstr(&path),
                             .quorum = 1,
                             .seed = 1,
                             .initialize = true,
                             .election_timeout_ms = 15000,
                             .read_timeout_ms = 30000,
                             .write_timeout_ms = 30000,
                             .election_retries = 20 };
    if (log_open(&lc, &b->log, &err)) {
        fprintf(stderr, "%s\n", buf_cstr(&err));
        exit(1);
    }
    struct stream_config sc = { .loop = &b->loop,
                                .log = b->log,
                                .max_entry_bytes = 512 * 1024,
                                .now_ms = wall_ms,
                                .on_snapshot = on_snapshot,
                                .on_op = on_op,
                                .on_ready = on_ready,
                                .on_durable = on_durable,
                                .on_failed = on_failed,
                                .arg = b };
    if (stream_new(&sc, &b->stream)) exit(1);
    b->store = store_new();
    b->ready = b->closed = false;
    b->last_durable = b->first_index = 0;
    uv_prepare_init(&b->loop, &b->pauses.prepare);
    uv_timer_init(&b->loop, &b->writer);
    b->pauses.prepare.data = b->writer.data = b;
    uv_prepare_start(&b->pauses.prepare, on_prepare);
    pauses_begin(b);
    stream_start(b->stream);
    while (!b->ready) uv_run(&b->loop, UV_RUN_ONCE);
    buf_release(&path);
}

static void on_closed(void *arg)
{
    (void)arg;
}

static void end(struct bench *b)
{
    uv_close((uv_handle_t *)&b->pauses.prepare, NULL);
    uv_close((uv_handle_t *)&b->writer, NULL);
    stream_close(b->stream, on_closed, b);
    log_close(b->log, on_closed, b);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert(uv_loop_close(&b->loop) == 0);
    store_free(b->store);
}

/* ---- what is stored ---- */

static uint64_t put(struct bench *b, const struct api_op *op)
{
    int err = store_apply(b->store, op);
    assert(!err);
    return stream_append(b->stream, op, 1);
}

static void put_host(struct bench *b, struct arena *a, unsigned i)
{
    struct api_attribute *attributes = ARENA_ARRAY(a, struct api_attribute, 2);
    struct str *values = ARENA_ARRAY(a, struct str, 2);
    values[0] = arena_strf(a, "host-%u.example.org", i);
    values[1] = arena_strf(a, "rack-%u", i / 40);
    for (unsigned k = 0; k < 2; k++)
        attributes[k] = (struct api_attribute){
            .name = k ? STR("rack") : STR("host"), .has_values = true, .n_values = 1, .values = &values[k]
        };
    struct api_host_attributes h = { .host = values[0],
                                     .has_attributes = true,
                                     .n_attributes = 2,
                                     .attributes = attributes,
                                     .has_mode = true,
                                     .mode = API_MAINTENANCE_MODE_NONE,
                                     .slave_id = arena_strf(a, "20201122-121212-16842879-5050-1-S%u", i) };
    put(b, &(struct api_op){ .save_host_attributes = &(struct api_save_host_attributes){ .host_attributes = &h } });
}

static struct api_task_config *config_of(struct arena *a, unsigned job)
{
    static const char data[] = "{\"processes\": [{\"name\": \"main\", \"cmdline\": \"exec /usr/bin/server --port "
                               "{{thermos.ports[http]}} --shard {{mesos.instance}}\", \"max_failures\": 1, "
                               "\"daemon\": false, \"ephemeral\": false, \"min_duration\": 5, \"final\": false}]}";
    struct api_job_key *key = ARENA_NEW(a, struct api_job_key);
    *key = (struct api_job_key){ arena_strf(a, "role%u", job % 50), STR("prod"), arena_strf(a, "job%u", job) };
    struct api_executor_config *executor = ARENA_NEW(a, struct api_executor_config);
    *executor = (struct api_executor_config){ .name = STR("AuroraExecutor"), .data = STR("") };
    struct buf b = { 0 };
    for (int i = 0; i < 8; i++) buf_adds(&b, data);
    executor->data = arena_str(a, (struct str){ buf_cstr(&b), (uint32_t)b.len });
    buf_release(&b);
    struct api_task_config *c = ARENA_NEW(a, struct api_task_config);
    *c =
        (struct api_task_config){ .job = key, .has_is_service = true, .is_service = true, .executor_config = executor };
    return c;
}

static void fill_task(struct arena *a, struct api_scheduled_task *t, struct api_task_config *config, unsigned i,
                      unsigned host)
{
    static const enum api_schedule_status steps[] = { API_SCHEDULE_STATUS_PENDING, API_SCHEDULE_STATUS_ASSIGNED,
                                                      API_SCHEDULE_STATUS_STARTING, API_SCHEDULE_STATUS_RUNNING };
    struct api_assigned_task *at = ARENA_NEW(a, struct api_assigned_task);
    *at = (struct api_assigned_task){ .task_id = arena_strf(a, "role-prod-job-%u-5c25ae2a-1c9c-4d2b-9d06-%012u", i, i),
                                      .slave_id = arena_strf(a, "20201122-121212-16842879-5050-1-S%u", host),
                                      .slave_host = arena_strf(a, "host-%u.example.org", host),
                                      .task = config,
                                      .has_instance_id = true,
                                      .instance_id = (int32_t)i };
    struct api_task_event *events = ARENA_ARRAY(a, struct api_task_event, 4);
    for (int k = 0; k < 4; k++)
        events[k] = (struct api_task_event){ .has_timestamp = true,
                                             .timestamp = 1606000000000 + k * 1000 + i,
                                             .has_status = true,
                                             .status = steps[k],
                                             .message = k == 2 ? STR("Initializing sandbox.") : (struct str){ 0 },
                                             .scheduler = STR("scheduler-1.example.org") };
    *t = (struct api_scheduled_task){ .assigned_task = at,
                                      .has_status = true,
                                      .status = API_SCHEDULE_STATUS_RUNNING,
                                      .has_task_events = true,
                                      .n_task_events = 4,
                                      .task_events = events };
}

static void put_job(struct bench *b, unsigned job, unsigned from, unsigned to, unsigned hosts)
{
    enum { SLICE = 250 };
    struct arena a = { 0 };
    struct api_task_config *config = config_of(&a, job);
    while (from < to) {
        unsigned n = to - from < SLICE ? to - from : SLICE;
        struct api_scheduled_task *tasks = ARENA_ARRAY(&a, struct api_scheduled_task, n);
        for (unsigned i = 0; i < n; i++) fill_task(&a, &tasks[i], config, from + i, (from + i) % hosts);
        struct api_save_tasks save = { .has_tasks = true, .n_tasks = n, .tasks = tasks };
        put(b, &(struct api_op){ .save_tasks = &save });
        from += n;
    }
    arena_release(&a);
}

/* One update per job with an event per instance of the first hundred. */
static void put_update(struct bench *b, unsigned job)
{
    struct arena a = { 0 };
    struct api_task_config *config = config_of(&a, job);
    struct api_job_update_key key = { .job = config->job, .id = STR("5c25ae2a-1c9c-4d2b-9d06-0123456789ab") };
    struct api_job_update_summary summary = { .key = &key, .user = STR("me") };
    struct api_job_update_settings settings = { .has_update_group_size = true, .update_group_size = 1 };
    struct api_range range = { .has_first = true, .has_last = true, .last = 99 };
    struct api_instance_task_config instances = {
        .task = config, .has_instances = true, .n_instances = 1, .instances = &range
    };
    struct api_job_update_instructions instructions = {
        .has_initial_state = true, .n_initial_state = 1, .initial_state = &instances, .settings = &settings
    };
    struct api_job_update u = { .summary = &summary, .instructions = &instructions };
    put(b, &(struct api_op){ .save_job_update = &(struct api_save_job_update){ .job_update = &u } });
    struct api_job_update_event e = { .has_status = true,
                                      .status = API_JOB_UPDATE_STATUS_ROLLED_FORWARD,
                                      .has_timestamp_ms = true,
                                      .timestamp_ms = 1606000000000 };
    put(b,
        &(struct api_op){ .save_job_update_event = &(struct api_save_job_update_event){ .event = &e, .key = &key } });
    for (int i = 0; i < 100; i++) {
        struct api_job_instance_update_event ie = { .has_instance_id = true,
                                                    .instance_id = i,
                                                    .has_timestamp_ms = true,
                                                    .timestamp_ms = 1606000000000 + i,
                                                    .has_action = true,
                                                    .action = API_JOB_UPDATE_ACTION_INSTANCE_UPDATED };
        put(b, &(struct api_op){ .save_job_instance_update_event =
                                     &(struct api_save_job_instance_update_event){ .event = &ie, .key = &key } });
    }
    arena_release(&a);
}

static void wait_durable(struct bench *b)
{
    uint64_t last = stream_append(b->stream, NULL, 0);
    while (stream_durable(b->stream) < last) uv_run(&b->loop, UV_RUN_ONCE);
}

static void fill(struct bench *b, unsigned tasks, unsigned hosts, unsigned jobs)
{
    struct arena a = { 0 };
    for (unsigned i = 0; i < hosts; i++) put_host(b, &a, i);
    arena_release(&a);
    for (unsigned j = 0; j < jobs; j++) {
        unsigned from = (unsigned)((uint64_t)tasks * j / jobs), to = (unsigned)((uint64_t)tasks * (j + 1) / jobs);
        put_job(b, j, from, to, hosts);
        put_update(b, j);
        wait_durable(b);
    }
}

/* ---- the measured part ---- */

static void on_snapshot_done(int err, void *arg)
{
    assert(!err);
    ((struct bench *)arg)->snapshot_done = true;
}

/* A task changes its state, over and over. */
static void on_write(uv_timer_t *t)
{
    struct bench *b = t->data;
    struct arena a = { 0 };
    struct api_scheduled_task task;
    unsigned i = (unsigned)(uv_hrtime() / 1000 % b->n_tasks);
    fill_task(&a, &task, config_of(&a, i % 7), i, i % 100);
    struct api_save_tasks save = { .has_tasks = true, .n_tasks = 1, .tasks = &task };
    uint64_t index = put(b, &(struct api_op){ .save_tasks = &save });
    if (!b->first_index) b->first_index = index;
    b->began[index % WRITES_MAX] = uv_hrtime();
    arena_release(&a);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static void run_for(struct bench *b, uint64_t ns)
{
    for (uint64_t until = uv_hrtime() + ns; uv_hrtime() < until;) uv_run(&b->loop, UV_RUN_ONCE);
}

static void forget_waits(struct bench *b)
{
    b->n_waits = 0;
    b->first_index = 0;
}

static void print_waits(struct bench *b)
{
    qsort(b->waits, b->n_waits, sizeof(*b->waits), by_value);
    if (!b->n_waits) return;
    printf("\"write_p50_ms\": %.2f, \"write_p99_ms\": %.2f, \"write_max_ms\": %.2f", ms(b->waits[b->n_waits / 2]),
           ms(b->waits[b->n_waits * 99 / 100]), ms(b->waits[b->n_waits - 1]));
}

static void print_pauses(const struct bench *b)
{
    printf("\"pause_ms\": %.2f, \"pause_cpu_ms\": %.2f", ms(b->pauses.worst), ms(b->pauses.worst_cpu));
}

static void round_of(struct bench *b, bool snapshot)
{
    pauses_begin(b);
    forget_waits(b);
    uv_timer_start(&b->writer, on_write, 0, WRITE_EVERY_MS);
    uint64_t start = uv_hrtime(), took;
    b->snapshot_done = !snapshot;
    if (snapshot) {
        int err = stream_snapshot(b->stream, b->store, on_snapshot_done, b);
        assert(!err);
    }
    while (!b->snapshot_done) uv_run(&b->loop, UV_RUN_ONCE);
    took = uv_hrtime() - start;
    run_for(b, 500000000); /* what comes after it belongs to it */
    uv_timer_stop(&b->writer);
    wait_durable(b);
    uv_run(&b->loop, UV_RUN_NOWAIT);
    printf("{\"snapshot_ms\": %.1f, ", snapshot ? ms(took) : 0);
    print_pauses(b);
    printf(", ");
    print_waits(b);
    printf("}");
}

static void rounds_of(struct bench *b, const char *name, bool snapshot, int rounds)
{
    printf("\"%s\": [", name);
    for (int i = 0; i < rounds; i++) {
        if (i) printf(", ");
        round_of(b, snapshot);
    }
    printf("],\n ");
}

/* By another process: all memory is new. */
static void replay(struct bench *b, const char *dir, const char *name)
{
    end(b);
    malloc_trim(0);
    uint64_t start = uv_hrtime();
    begin(b, dir);
    uint64_t took = uv_hrtime() - start;
    double rate = (double)store_task_count(b->store) / ((double)took / 1e9);
    printf("\"%s\": {\"ms\": %.1f, \"tasks_per_second\": %.0f, ", name, ms(took), rate);
    print_pauses(b);
    printf("},\n ");
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    unsigned tasks = (unsigned)atoi(argv[2]), hosts = argc > 3 ? (unsigned)atoi(argv[3]) : 10000;
    unsigned jobs = argc > 4 ? (unsigned)atoi(argv[4]) : 500;
    int rounds = argc > 5 ? atoi(argv[5]) : 3;
    static struct bench b;
    mkdir(argv[1], 0777);
    b.n_tasks = tasks;
    begin(&b, argv[1]);
    fill(&b, tasks, hosts, jobs);
    printf("{\"tasks\": %u, \"hosts\": %u, \"jobs\": %u,\n ", tasks, hosts, jobs);
    replay(&b, argv[1], "replay_of_transactions");
    rounds_of(&b, "calm", false, 1);
    rounds_of(&b, "snapshots", true, rounds);
    replay(&b, argv[1], "replay_of_a_snapshot");
    printf("\"tasks_replayed\": %llu}\n", (unsigned long long)store_task_count(b.store));
    end(&b);
    return 0;
}
