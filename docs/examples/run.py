"""`make run`: a Mesos master with agents and one scheduler on loopback, and a job that says hello.

Submits docs/examples/hello.json, follows it to RUNNING, shows its own output, prints the URLs and stays up until Ctrl-C, which stops
what was started here and nothing else. The log folder is kept: run it again and the job is still there.
Needs Python's standard library and curl.
"""
import argparse
import ctypes
import datetime
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
HELLO = os.path.join(HERE, "hello.json")
JOB = json.load(open(HELLO, encoding="utf-8"))["description"]["key"]
TERMINAL = {"FINISHED", "FAILED", "KILLED", "LOST"}
WAIT_S = 120


def say(text=""):
    print(text, flush=True)


def port_or_free(wanted):
    """The wanted port, so that URLs stay the same from run to run; another one if it is taken."""
    for port in (wanted, 0):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return s.getsockname()[1]
            except OSError:
                continue
    raise SystemExit("no free port on 127.0.0.1")


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as r:
        return r.read()


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: nothing stays behind, however we end


class Process:
    """A child in a session of its own: Ctrl-C on the terminal reaches only us, and we stop it in order."""

    def __init__(self, name, argv, folder, env=None):
        self.name, self.log = name, os.path.join(folder, f"{name}.log")
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                          preexec_fn=die_with_parent, env=dict(os.environ, **(env or {})))

    def check(self):
        if self.popen.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                tail = "".join(f.readlines()[-15:])
            raise SystemExit(f"{self.name} ended with status {self.popen.returncode}; the end of {self.log}:\n{tail}")

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


class Run:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.folder = os.path.join(self.build, "run")
        self.http, self.mesos = port_or_free(8081), port_or_free(5050)
        self.processes = []

    def start(self, name, argv, env=None):
        p = Process(name, argv, self.folder, env)
        self.processes.append(p)
        return p

    def check(self):
        for p in self.processes:
            p.check()

    def wait_for(self, what, condition):
        end, error = time.monotonic() + WAIT_S, ""
        while True:
            self.check()
            try:
                value = condition()
                if value:
                    return value
            except OSError as e:
                error = e
            if time.monotonic() > end:
                raise SystemExit(f"waited {WAIT_S} s in vain: {what} {error}; see {self.folder}")
            time.sleep(0.05)

    def start_all(self):
        os.makedirs(self.folder, exist_ok=True)
        self.start("mesos-local", [f"{self.build}/mesos-local", "--ip=127.0.0.1", f"--port={self.mesos}", "--agents=2",
                                   f"--work-dir={self.folder}/mesos"])
        self.wait_for("the master answers", lambda: get(self.mesos, "/health") is not None)
        self.start("aurora-scheduler",
                   [f"{self.build}/aurora-scheduler", "-cluster_name=local", "-ip=127.0.0.1", "-hostname=127.0.0.1",
                    f"-http_port={self.http}", f"-mesos_master_address=127.0.0.1:{self.mesos}",
                    f"-native_log_file_path={self.folder}/log",
                    # The new master knows nothing of the last run's tasks: ask soon, and do not hold it against them that
                    # they were lost.
                    "-reconciliation_initial_delay=1secs", "-flapping_task_threshold=1secs",
                    "-initial_flapping_task_delay=1secs", "-max_flapping_task_delay=5secs"],
                   {"LIBPROCESS_IP": "127.0.0.1"})
        self.wait_for("the scheduler is registered",
                      lambda: json.loads(get(self.http, "/vars.json")).get("framework_registered") == 1)

    def submit(self):
        cmd = ["curl", "-sS", "-X", "POST", "--data-binary", f"@{os.path.relpath(HELLO)}",
               f"http://127.0.0.1:{self.http}/api/v1/createJob"]
        say(f"\n$ {shlex.join(cmd)}")
        out = subprocess.run(cmd, check=True, stdout=subprocess.PIPE).stdout.decode()
        say(out)
        answer = json.loads(out)
        text = " ".join(d.get("message", "") for d in answer.get("details", []))
        if answer["responseCode"] == "OK":
            say("\nThe job is accepted. Its states:")
        elif "already exists" in text:
            say("\nThe job is still there from the last run. Its states:")
        else:
            raise SystemExit(f"the job was not accepted: {answer['responseCode']} {text}")

    def tasks(self):
        body = json.dumps({"query": {"role": JOB["role"], "environment": JOB["environment"], "jobName": JOB["name"]}})
        req = urllib.request.Request(f"http://127.0.0.1:{self.http}/api/v1/getTasksStatus", data=body.encode(),
                                     headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(req, timeout=10) as r:
            return json.load(r)["result"]["scheduleStatusResult"]["tasks"]

    def live_tasks(self):
        """Ids of the tasks that this run's master knows as running."""
        return {t["id"] for t in json.loads(get(self.mesos, "/state"))["tasks"] if t["state"] == "TASK_RUNNING"}

    def follow(self):
        """Prints each state as it is reached; returns the id of the task that runs."""
        seen = set()

        def step():
            tasks = self.tasks()
            for t in sorted(tasks, key=lambda t: t["taskEvents"][0]["timestamp"]):
                tid = t["assignedTask"]["taskId"]
                for e in t["taskEvents"]:
                    key = (tid, e["timestamp"], e["status"])
                    if key not in seen:
                        seen.add(key)
                        at = datetime.datetime.fromtimestamp(e["timestamp"] / 1000).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
                        say(f"  {at}  {e['status']:<10} {tid}  {e.get('message', '')}".rstrip())
            live = self.live_tasks()
            return next((t["assignedTask"]["taskId"] for t in tasks
                         if t["status"] == "RUNNING" and t["assignedTask"]["taskId"] in live), None)
        return self.wait_for("the task is RUNNING", step)

    def show_output(self, task_id):
        text = self.wait_for("the task has said something", lambda: self.output(task_id))
        say("\nIts own output:")
        for line in text.splitlines()[:5]:
            say(f"  {line}")

    def output(self, task_id):
        return get(self.mesos, f"/sandbox/{task_id}/stdout").decode("utf-8", "replace")

    def print_urls(self, task_id):
        base = f"http://127.0.0.1:{self.http}"
        say(f"""
  scheduler   {base}/              (links to everything)
  statistics  {base}/vars
  the task    {base}/structdump/task/{task_id}
  its output  http://127.0.0.1:{self.mesos}/sandbox/{task_id}/stdout
  mesos       http://127.0.0.1:{self.mesos}/state
  logs        {os.path.relpath(self.folder)}/*.log

  kill it     curl -X POST -d '{json.dumps({"job": JOB})}' {base}/api/v1/killTasks
""")

    def stop_all(self):
        for p in reversed(self.processes):  # the scheduler first
            p.stop()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--build", default="build")
    ap.add_argument("--once", action="store_true", help="end as soon as the task runs")
    a = ap.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell has it ignored
    run = Run(a.build)
    try:
        run.start_all()
        run.submit()
        task_id = run.follow()
        run.show_output(task_id)
        run.print_urls(task_id)
        say("Ctrl-C stops everything. The next `make run` finds the job again.")
        while not a.once:
            time.sleep(0.5)
            run.check()
    except KeyboardInterrupt:
        pass
    finally:
        say("\nstopping")
        run.stop_all()


if __name__ == "__main__":
    main()
