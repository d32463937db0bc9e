#!/bin/sh
# Starts one scheduler by hand or from any supervisor. All flags: aurora-scheduler -help

# Where Mesos reaches the scheduler: an address that the master and the agents can connect to.
export LIBPROCESS_IP=192.0.2.10
export LIBPROCESS_PORT=8083
# More log lines, one per request: export GLOG_v=1

exec /usr/local/sbin/aurora-scheduler \
  -cluster_name=example \
  -hostname=scheduler1.example.com \
  -http_port=8081 \
  -mesos_master_address=mesos1.example.com:5050 \
  -native_log_file_path=/var/lib/aurora/log \
  -backup_dir=/var/lib/aurora/backups \
  -thermos_executor_path=/usr/share/aurora/bin/thermos_executor.pex \
  -allowed_container_types=MESOS,DOCKER
