/* The command line of mesos-local: --name=value, --name value, --name and --no-name for switches. */
#ifndef AURORA_MESOS_LOCAL_OPTIONS_H
#define AURORA_MESOS_LOCAL_OPTIONS_H

#include "core/buf.h"
#include "mesos/local/sim.h"

struct options {
    const char *ip, *advertise_ip, *hostname, *work_dir, *credentials, *agent_resources, *attributes;
    const char *agent_hostname;
    uint16_t port, advertise_port;
    uint32_t agents;
    bool simulate, authenticate, help, verbose;
    uint64_t seed;
    int64_t allocation_interval_ms, offer_timeout_ms, agent_reregister_ms, authentication_timeout_ms;
    struct sim_script script;
};

/* Strings point into argv. Returns 0, or ERR_MALFORMED with a line for the user in err. */
int options_parse(int argc, char **argv, struct options *ret, struct buf *err);
/* What --help prints. */
void options_usage(struct buf *out);
/* "500ms", "1.5secs", "10mins", "2hrs", "3s", "7" (seconds); 0 or more. ERR_MALFORMED. */
int duration_parse(struct str text, int64_t *ret_ms);

#endif
