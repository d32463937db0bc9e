"""One scheduler and mesos-local as real processes: what users and operators do with them."""
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import unittest
import urllib.error

from cluster import Cluster, free_port, wait_until
from thrift.Thrift import TApplicationException
import thrift_api

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
KEY = {"role": "www", "environment": "prod", "name": "hello"}


def description(name="hello", command="while true; do echo hello; sleep 1; done", instances=1, **config):
    key = dict(KEY, name=name)
    return {"key": key, "owner": {"user": "www"}, "instanceCount": instances,
            "taskConfig": dict({"job": key, "owner": {"user": "www"}, "isService": True,
                                "resources": [{"numCpus": 0.1}, {"ramMb": 16}, {"diskMb": 16}],
                                "executorConfig": {"name": "CommandExecutor", "data": command}}, **config)}


def messages(answer):
    return " ".join(d.get("message", "") for d in answer["details"])


class Http:
    """Raw requests to a port."""

    def __init__(self, port):
        self.port = port

    def call(self, method, path, body=None, **headers):
        """(status, headers, body), whatever the status."""
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            conn.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            r = conn.getresponse()
            return r.status, r.headers, r.read()
        finally:
            conn.close()

    def raw(self, data, half_close=False):
        """What comes back for these bytes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as s:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            out = b""
            while True:
                try:
                    part = s.recv(65536)
                except ConnectionResetError:
                    return out
                if not part:
                    return out
                out += part


class HelloTest(unittest.TestCase):
    """The first thing that a user does, with commands that really run."""

    def test_create_run_restart_kill(self):
        with Cluster(agents=2) as c:
            self.assertEqual(c.rpc("createJob", description=description())["responseCode"], "OK")
            c.wait_statuses(["RUNNING"])
            task = c.tasks()[0]
            self.assertEqual([e["status"] for e in task["taskEvents"]], ["PENDING", "ASSIGNED", "STARTING", "RUNNING"])
            again = c.rpc("createJob", description=description())
            self.assertEqual(again["responseCode"], "INVALID_REQUEST")
            self.assertEqual(messages(again), "Job www/prod/hello already exists")

            # A restart of the scheduler keeps all of it; the task has not noticed.
            self.assertEqual(c.scheduler.stop(), 0)
            c.scheduler.start()
            self.assertEqual(c.tasks()[0], task)

            self.assertEqual(c.rpc("killTasks", job=KEY, message="enough")["responseCode"], "OK")
            c.wait_statuses(["KILLED"])
            events = c.tasks()[0]["taskEvents"]
            self.assertEqual([e["status"] for e in events][-2:], ["KILLING", "KILLED"])
            self.assertEqual(events[-2]["message"], "Killed by UNSECURE.\nenough")
            self.assertEqual(messages(c.rpc("killTasks", job=KEY)), "No tasks to kill.")

    def test_failed_service_comes_back(self):
        with Cluster() as c:
            c.rpc("createJob", description=description(command="exit 3"))
            wait_until(lambda: len(c.tasks()) >= 2, 60, what="a second task")
            failed = [t for t in c.tasks() if t["status"] == "FAILED"]
            self.assertTrue(failed)
            self.assertIn(failed[0]["assignedTask"]["taskId"], [t.get("ancestorId") for t in c.tasks()])

    def test_kill9_and_a_new_master(self):
        with Cluster(flags=["-reconciliation_initial_delay=1secs"]) as c:
            c.rpc("createJob", description=description())
            c.wait_statuses(["RUNNING"])
            old = c.tasks()[0]["assignedTask"]["taskId"]
            # The master forgets all: the same framework comes back, its task is found lost and runs anew.
            c.scheduler.kill9()
            c.master.stop()
            c.master.start()
            c.scheduler.start()

            def again():
                return [t for t in c.tasks(statuses=["RUNNING"]) if t["assignedTask"]["taskId"] != old]
            wait_until(again, 90, what="the task runs again")
            lost = [t for t in c.tasks() if t["assignedTask"]["taskId"] == old]
            self.assertEqual(lost[0]["status"], "LOST")

    def test_the_master_restarts_under_us(self):
        with Cluster(flags=["-reconciliation_initial_delay=1secs"]) as c:
            c.master.stop()
            wait_until(lambda: c.scheduler.var("framework_registered") == 0, 30, what="disconnected")
            c.rpc("createJob", description=description())
            c.wait_statuses(["PENDING"])
            c.master.start()
            c.wait_statuses(["RUNNING"], seconds=90)

    def test_no_master_at_all(self):
        with Cluster(start=False, flags=["-max_registration_delay=1secs"]) as c:
            c.scheduler.start(active=False)
            self.assertEqual(c.scheduler.popen.wait(60), 1)
            self.assertIn("max_registration_delay", c.scheduler.log)

    def test_orderly_end(self):
        with Cluster() as c:
            status, _, body = Http(c.scheduler.http_port).call("POST", "/quitquitquit")
            self.assertEqual((status, body), (200, b"Notifying quit listener."))
            self.assertEqual(c.scheduler.popen.wait(30), 0)
            c.scheduler.start()
            c.scheduler.popen.send_signal(signal.SIGINT)
            self.assertEqual(c.scheduler.popen.wait(30), 0)
            self.assertNotIn("ERROR: ", c.scheduler.log)  # of a sanitizer


class ServedTest(unittest.TestCase):
    """One cluster, many questions."""

    @classmethod
    def setUpClass(cls):
        cls.thrift_port = free_port()
        cls.cluster = Cluster(simulate=True, flags=[f"-thrift_port={cls.thrift_port}", "-enable_cors_for=http://ui.example",
                                                    "-zk_digest_credentials=user:hidden"])
        cls.cluster.__enter__()
        cls.http = Http(cls.cluster.scheduler.http_port)
        cls.ttypes, cls.service = thrift_api.generate()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def still_fine(self):
        self.assertEqual(self.http.call("GET", "/health")[2], b"OK\n")
        self.assertEqual(self.cluster.rpc("getJobs")["responseCode"], "OK")

    # ---- monitoring ----

    def test_health(self):
        status, headers, body = self.http.call("GET", "/health")
        self.assertEqual((status, body), (200, b"OK\n"))
        self.assertEqual(headers["Content-Type"], "text/plain;charset=UTF-8")
        self.assertEqual(self.http.call("HEAD", "/health")[2], b"")

    def test_monits_own_probe(self):
        answer = self.http.raw(b"GET /health HTTP/1.0\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1."), answer)
        self.assertTrue(answer.endswith(b"\r\n\r\nOK\n"), answer)
        answer = self.http.raw(b"GET /health HTTP/1.0\r\n", half_close=True)
        self.assertTrue(answer.endswith(b"\r\n\r\nOK\n"), answer)

    def test_vars(self):
        lines = self.http.call("GET", "/vars")[2].decode().split("\n")
        self.assertEqual(lines, sorted(lines))
        self.assertIn("framework_registered 1", lines)
        self.assertIn("scheduler_lifecycle_ACTIVE 1", lines)
        self.assertIn("scheduler_lifecycle_LEADER_AWAITING_REGISTRATION 0", lines)
        self.assertIn("flag_cluster_name test", lines)
        self.assertIn("flag_max_tasks_per_job 4000", lines)
        self.assertIn("flag_zk_digest_credentials <masked>", lines)
        self.assertNotIn("hidden", "\n".join(lines))
        v = json.loads(self.http.call("GET", "/vars.json")[2])
        self.assertIn("-cluster_name=test", v["jvm_prop_sun.java.command"])
        for name in ("process_cpu_time_nanos", "process_open_fd_count", "jvm_uptime_secs", "jvm_time_ms", "loop_lag_ms",
                     "loop_busy_ms_max", "pipeline_held_steps", "log_queued_bytes", "process_resident_memory_bytes"):
            self.assertIsInstance(v[name], int, name)
        for name in ("system_load_avg", "process_cpu_cores_utilized"):
            self.assertIsInstance(v[name], float, name)
        self.assertTrue(v["build.version"])

    def test_each_answer_is_counted_once(self):
        count = lambda: json.loads(self.http.call("GET", "/vars.json")[2])["scheduler_thrift_response_OK"]
        self.assertEqual(self.http.call("POST", "/api/v1/getTierConfigs")[0], 200)
        before = count()
        self.assertEqual(self.http.call("POST", "/api/v1/getTierConfigs")[0], 200)
        self.assertEqual(count(), before + 1)

    def test_graphdata(self):
        names = json.loads(self.http.call("GET", "/graphdata/")[2])
        self.assertIn("framework_registered", names)
        wait_until(lambda: json.loads(self.http.call("GET", "/graphdata/?metrics=framework_registered")[2])["data"], 30)
        status, _, body = self.http.call("GET", "/graphdata/?metrics=nonsense")
        self.assertEqual((status, json.loads(body)), (400, {"error": "Unknown metric nonsense"}))
        self.assertEqual(self.http.call("GET", "/graphdata/?metrics=framework_registered&since=x")[0], 400)

    def test_gzip(self):
        _, headers, body = self.http.call("GET", "/vars", Accept_Encoding="deflate, gzip")
        self.assertEqual(headers["Content-Encoding"], "gzip")
        self.assertIn(b"framework_registered 1", gzip.decompress(body))
        self.assertIsNone(self.http.call("GET", "/vars", Accept_Encoding="gzip;q=0")[1]["Content-Encoding"])
        self.assertIsNone(self.http.call("GET", "/health", Accept_Encoding="gzip")[1]["Content-Encoding"])

    # ---- pages ----

    def test_pages(self):
        get = lambda path: self.http.call("GET", path)  # noqa: E731
        self.assertIn(b'<a href="/vars">', get("/")[2])
        self.assertIn(b"<title>Aurora test agents</title>", get("/agents")[2])
        self.assertEqual(get("/slaves")[2], get("/agents")[2])
        self.assertIn(b"Current status: This is the leading scheduler.", get("/leaderhealth")[2])
        self.assertEqual(json.loads(get("/tiers")[2])["tiers"]["revocable"], {"preemptible": True, "revocable": True})
        self.assertEqual({s["state"] for s in json.loads(get("/services")[2])}, {"RUNNING"})
        wait_until(lambda: json.loads(get("/offers")[2]), 30, what="an offer")
        offer = json.loads(get("/offers")[2])[0]
        self.assertLessEqual({"id", "framework_id", "agent_id", "hostname", "resources"}, set(offer))
        methods = {m["name"]: m for m in json.loads(get("/api/v1")[2])}
        self.assertTrue(methods["createJob"]["writes"])
        self.assertFalse(methods["getJobs"]["writes"])
        self.assertIn(b"Exception: Entity not found", get("/structdump/task/none")[2])

    def test_pending_and_state(self):
        self.cluster.rpc("createJob", description=description("huge", resources=[
            {"numCpus": 100000.0}, {"ramMb": 16}, {"diskMb": 16}]))
        group = wait_until(lambda: [g for g in json.loads(self.http.call("GET", "/pendingtasks")[2])
                                    if g["name"] == "www/prod/huge" and g["reason"] != "[]"], 30)[0]
        self.assertEqual(group["reason"], "[Insufficient: CPU]")
        tid = group["taskIds"][0]
        page = self.http.call("GET", f"/structdump/task/{tid}")[2].decode()
        self.assertIn(f"&quot;taskId&quot;: &quot;{tid}&quot;", page)
        self.cluster.rpc("createJob", description=description("state", instances=2))
        self.cluster.wait_statuses(["RUNNING"] * 2, jobName="state")
        state = json.loads(self.http.call("GET", "/state")[2])
        keys = [k for k in state["taskConfigs"] if k.startswith("www/prod/state-")]
        self.assertEqual(len(keys), 1)
        self.assertEqual([k for agent in state["agents"].values() for k in agent].count(keys[0]), 2)
        for job in ("huge", "state"):
            self.cluster.rpc("killTasks", job=dict(KEY, name=job))

    def test_wrong_paths_and_methods(self):
        self.assertEqual(self.http.call("GET", "/nowhere")[0], 404)
        self.assertEqual(self.http.call("GET", "/vars/")[0], 404)
        self.assertEqual(self.http.call("GET", "/%zz")[0], 400)
        for method, path, allow in (("POST", "/health", "GET,HEAD,OPTIONS"), ("GET", "/quitquitquit", "POST,OPTIONS"),
                                    ("GET", "/api/v1/getJobs", "POST,OPTIONS"), ("PUT", "/api", "POST,OPTIONS")):
            status, headers, _ = self.http.call(method, path)
            self.assertEqual((status, headers["Allow"]), (405, allow))
        self.assertEqual(self.http.call("OPTIONS", "/vars")[0], 200)

    def test_cors(self):
        for path in ("/api", "/api/v1/getJobs"):
            _, headers, _ = self.http.call("OPTIONS", path)
            self.assertEqual(headers["Access-Control-Allow-Origin"], "http://ui.example")
            self.assertEqual(self.http.call("POST", path, "{}")[1]["Access-Control-Allow-Origin"], "http://ui.example")
        self.assertIsNone(self.http.call("GET", "/vars")[1]["Access-Control-Allow-Origin"])

    # ---- the RPC by an independent library ----

    def test_thrift_clients(self):
        t = self.ttypes
        for number, content_type in enumerate((thrift_api.JSON_TYPE, thrift_api.BINARY_TYPE)):
            for port in (self.http.port, self.thrift_port):
                client, transport = thrift_api.client(self.service, port, content_type)
                name = f"thrift-{number}-{port}"
                key = t.JobKey(role="www", environment="prod", name=name)
                config = t.TaskConfig(job=key, owner=t.Identity(user="www"), isService=True, priority=0, maxTaskFailures=1,
                                      resources={t.Resource(numCpus=0.1), t.Resource(ramMb=16), t.Resource(diskMb=16)},
                                      constraints=set(), container=t.Container(mesos=t.MesosContainer()),
                                      executorConfig=t.ExecutorConfig(name="CommandExecutor", data="true"))
                r = client.createJob(t.JobConfiguration(key=key, owner=t.Identity(user="www"), taskConfig=config,
                                                        instanceCount=2))
                self.assertEqual(r.responseCode, t.ResponseCode.OK, r)
                self.assertEqual((r.serverInfo.clusterName, r.serverInfo.statsUrlPrefix), ("test", ""))
                self.assertEqual(transport.reply_type, content_type)
                r = client.getTasksStatus(t.TaskQuery(jobKeys={key}))
                self.assertEqual({x.assignedTask.instanceId for x in r.result.scheduleStatusResult.tasks}, {0, 1})
                self.assertEqual(client.getTierConfigs().result.getTierConfigResult.defaultTierName, "preemptible")
                client.killTasks(key, set(), None)
                with self.assertRaises(TApplicationException) as e:
                    client._oprot.writeMessageBegin("noSuchMethod", 1, 5)
                    client._oprot.writeStructBegin("noSuchMethod_args")
                    client._oprot.writeFieldStop()
                    client._oprot.writeStructEnd()
                    client._oprot.writeMessageEnd()
                    client._oprot.trans.flush()
                    client.recv_getJobs()
                self.assertEqual(e.exception.type, TApplicationException.UNKNOWN_METHOD)

    def test_large_answer(self):
        """Encoded off the loop."""
        self.cluster.rpc("createJob", description=description("large", instances=1000, resources=[
            {"numCpus": 100000.0}, {"ramMb": 16}, {"diskMb": 16}]))
        tasks = self.cluster.tasks(jobName="large")
        self.assertEqual(sorted(t["assignedTask"]["instanceId"] for t in tasks), list(range(1000)))
        body = json.dumps({"query": {"jobName": "large"}})
        _, headers, answer = self.http.call("POST", "/api/v1/getTasksStatus", body, Accept_Encoding="gzip")
        self.assertEqual(headers["Content-Encoding"], "gzip")
        self.assertEqual(json.loads(gzip.decompress(answer))["result"]["scheduleStatusResult"]["tasks"], tasks)
        self.cluster.rpc("killTasks", job=dict(KEY, name="large"))

    def test_unimplemented_methods_say_so(self):
        for method in (m["name"] for m in json.loads(self.http.call("GET", "/api/v1")[2]) if not m["implemented"]):
            status, _, body = self.http.call("POST", f"/api/v1/{method}", "{}")
            answer = json.loads(body)
            self.assertEqual((status, answer["responseCode"]), (200, "ERROR"))
            self.assertIn(method, messages(answer))

    # ---- bad input ----

    def test_malformed_http(self):
        for data in (b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00\x01\x02\r\n\r\n",
                     b"POST /api HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                     b"POST /api HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"):
            answer = self.http.raw(data, half_close=True)
            self.assertRegex(answer, rb"^HTTP/1\.[01] (400|505) ", data)
        self.still_fine()

    def test_too_much(self):
        answer = self.http.raw(b"GET / HTTP/1.1\r\nA: " + b"x" * (128 << 10) + b"\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 431 "), answer[:100])
        answer = self.http.raw(b"GET /" + b"x" * (64 << 10) + b" HTTP/1.1\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 414 "), answer[:100])
        answer = self.http.raw(b"POST /api HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer[:100])
        self.still_fine()

    def check_v1(self, method, body, status, code, text):
        got, _, answer = self.http.call("POST", f"/api/v1/{method}", body)
        answer = json.loads(answer)
        self.assertEqual((got, answer["responseCode"]), (status, code), answer)
        self.assertIn(text, messages(answer))
        self.assertEqual(answer["serverInfo"]["clusterName"], "test")

    def test_malformed_json(self):
        for body in ("{", "{]", '{"a":1}}', "nul", b"\xff\xfe", '{"ownerRole":"a', '{"ownerRole" "a"}'):
            self.check_v1("getJobs", body, 400, "INVALID_REQUEST", "Request must be valid JSON")
        self.check_v1("getJobs", "[]", 400, "INVALID_REQUEST", "must be a JSON object")
        self.check_v1("getJobs", '{"ownerRole":' + "[" * 100000, 400, "INVALID_REQUEST", "")
        self.check_v1("createJob", '{"description":' * 60000, 400, "INVALID_REQUEST", "")
        self.still_fine()

    def test_unknown_methods_fields_and_wrong_types(self):
        self.check_v1("noSuchMethod", "{}", 404, "INVALID_REQUEST", "noSuchMethod")
        self.check_v1("getJobs", '{"ownerRole":"a","rolle":"b"}', 400, "INVALID_REQUEST", "rolle")
        self.check_v1("createJob", json.dumps({"description": description(prioritty=3)}), 400, "INVALID_REQUEST",
                      "description.taskConfig.prioritty")
        self.check_v1("createJob", json.dumps({"description": dict(description(), instanceCount="1")}), 400,
                      "INVALID_REQUEST", "description.instanceCount")
        self.check_v1("createJob", json.dumps({"description": description(resources=[{"numCpus": 1.0, "ramMb": 1}])}), 400,
                      "INVALID_REQUEST", "description.taskConfig.resources")
        status, _, body = self.http.call("POST", "/apibeta/noSuchMethod", "{}")
        self.assertEqual((status, json.loads(body)["responseCode"]), (404, "ERROR"))
        status, _, body = self.http.call("POST", "/apibeta/getJobs", "{")
        self.assertEqual(status, 400)
        self.assertIn("Request must be valid JSON", messages(json.loads(body)))
        self.assertEqual(json.loads(self.http.call("POST", "/apibeta/getJobs", '{"rolle":"x"}')[2])["responseCode"], "OK")

    def test_malformed_thrift(self):
        json_type, binary = thrift_api.JSON_TYPE, thrift_api.BINARY_TYPE
        for body in (b"", b"[", b"[2,\"getJobs\",1,1,{}]", b"{}", b"\xff"):
            self.assertEqual(self.http.call("POST", "/api", body, Content_Type=json_type)[0], 500, body)
        for body in (b"", b"\x80\x01", b"\x80\x02\x00\x01\x00\x00\x00\x07getJobs\x00\x00\x00\x01\x00",
                     b"\x80\x01\x00\x01\x7f\xff\xff\xffx"):
            self.assertEqual(self.http.call("POST", "/api", body, Content_Type=binary)[0], 500, body)
        head = b"\x80\x01\x00\x01\x00\x00\x00\x07getJobs\x00\x00\x00\x01"
        for args in (b"\x0b\x00\x01\xff\xff\xff\xff\x00", b"\x0b\x00\x01\x7f\xff\xff\xff\x00", b"\x0b\x00\x01",
                     b"\x63\x00\x01\x00", b"\x0c\x00\x09" * 100000):
            status, _, answer = self.http.call("POST", "/api", head + args, Content_Type=binary, Accept=binary)
            self.assertEqual((status, answer[:4]), (200, b"\x80\x01\x00\x03"), args[:20])
            self.assertTrue(answer.endswith(b"\x08\x00\x02\x00\x00\x00\x07\x00"), answer)
        status, _, answer = self.http.call("POST", "/api", b"[1,\"getJobs\",1,1," + b'{"9":{"rec":' * 100000)
        self.assertEqual((status, json.loads(answer)[2]), (200, 3))
        status, _, answer = self.http.call("POST", "/api", "x=y", Content_Type="application/x-www-form-urlencoded")
        self.assertEqual((status, answer), (415, b"Unsupported Content-Type: application/x-www-form-urlencoded"))
        # A field of another type than declared is skipped, as Thrift does.
        answer = self.http.call("POST", "/api", b'[1,"getJobs",1,1,{"1":{"i32":5}}]', Content_Type=json_type)[2]
        self.assertEqual(json.loads(answer)[2], 2)
        self.still_fine()

    def test_malformed_protobuf(self):
        """At the libprocess port."""
        lp = Http(self.cluster.scheduler.libprocess_port)
        state = json.loads(self.cluster.master.get("/state"))
        pid = state["frameworks"][0]["pid"]
        for name in ("mesos.internal.StatusUpdateMessage", "mesos.internal.ResourceOffersMessage",
                     "mesos.internal.FrameworkRegisteredMessage", "no.such.Message"):
            for body in (b"\xff" * 50, b"\x0a", b"", b"\x0a\xff\xff\xff\xff\x0f"):
                status, _, _ = lp.call("POST", f"/{pid.split('@')[0]}/{name}", body,
                                       Libprocess_From=f"master@127.0.0.1:{self.cluster.master.port}")
                self.assertEqual(status, 202)
        self.still_fine()
        self.assertEqual(self.cluster.scheduler.var("framework_registered"), 1)

    def test_invalid_jobs(self):
        def refused(text, code="INVALID_REQUEST", **change):
            answer = self.cluster.rpc("createJob", description=dict(description(), **change))
            self.assertEqual(answer["responseCode"], code, answer)
            self.assertIn(text, messages(answer))
        refused("Job key", key=dict(KEY, name="a b"))
        refused("Job key", key=dict(KEY, role="x" * 256))
        refused("Job environment", key=dict(KEY, environment="production"))
        refused("Instance count must be positive.", instanceCount=0)
        refused("Instance count must be between 1 and 4000 inclusive.", instanceCount=4001)
        refused("num_cpus must be greater than 0.0", taskConfig=description(resources=[{"numCpus": 0.0}])["taskConfig"])
        refused("Configuration for executor 'x' doesn't exist.",
                taskConfig=description(executorConfig={"name": "x", "data": ""})["taskConfig"])
        for method in ("killTasks", "restartShards"):
            answer = self.cluster.rpc(method, job={"role": "", "environment": "", "name": ""})
            self.assertEqual(answer["responseCode"], "ERROR", answer)
        self.assertEqual(self.cluster.tasks(jobName="hello"), [])


def field(number, value):
    """A field of a Protobuf message: an int as varint, bytes with their length."""
    def varint(n):
        return bytes([n & 0x7f | 0x80]) + varint(n >> 7) if n > 0x7f else bytes([n])
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


class MesosTroubleTest(unittest.TestCase):
    """Messages that come twice, late, in the wrong order, not at all, or about what nobody knows."""

    def fault(self, c, action, message, count=-1, **more):
        c.master.post("/control/faults", dict({"action": action, "direction": "out", "message": message, "count": count}, **more))

    def run_jobs(self, c, n=5):
        for i in range(n):
            c.rpc("createJob", description=description(f"j{i}", command="exit 0", instances=3, isService=False))
        c.wait_statuses(["FINISHED"] * 3 * n, seconds=90)
        for t in c.tasks():
            self.assertEqual([e["status"] for e in t["taskEvents"]][0], "PENDING")
            self.assertEqual([e["status"] for e in t["taskEvents"]].count("FINISHED"), 1)

    def test_updates_twice(self):
        with Cluster(agents=2) as c:
            self.fault(c, "duplicate", "mesos.internal.StatusUpdateMessage")
            self.run_jobs(c)

    def test_updates_out_of_order(self):
        with Cluster(agents=2) as c:
            self.fault(c, "reorder", "mesos.internal.StatusUpdateMessage")
            self.run_jobs(c)

    def test_updates_lost(self):
        with Cluster() as c:
            self.fault(c, "drop", "mesos.internal.StatusUpdateMessage", count=2)
            self.run_jobs(c, 1)

    def test_an_unknown_task(self):
        with Cluster() as c:
            framework = json.loads(c.master.get("/state"))["frameworks"][0]
            status = field(1, field(1, b"no-such-task")) + field(2, 1)  # TASK_RUNNING
            update = field(1, field(1, framework["id"].encode())) + field(3, field(1, b"no-such-agent")) + field(4, status) + \
                b"\x29" + bytes(8) + field(6, b"0123456789abcdef")
            port = int(framework["pid"].rsplit(":", 1)[1])
            code, _, _ = Http(port).call("POST", f"/{framework['pid'].split('@')[0]}/mesos.internal.StatusUpdateMessage",
                                         field(1, update) + field(2, b"slave(1)@127.0.0.1:1"),
                                         Libprocess_From=f"master@127.0.0.1:{c.master.port}")
            self.assertEqual(code, 202)
            killed = "task-transition-refused task=no-such-task from=absent to=RUNNING cause=status-update killed=true"
            wait_until(lambda: killed in c.scheduler.log, 30, what="it is killed")
            self.assertEqual(c.tasks(), [])
            self.run_jobs(c, 1)


class FullDiskTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="aurora-disk-")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", self.dir], check=False).returncode:
            os.rmdir(self.dir)
            self.skipTest("only root can mount a small disk")

    def tearDown(self):
        subprocess.run(["umount", "-l", self.dir], check=True)
        os.rmdir(self.dir)

    def fill(self, c):
        """Creates jobs until the scheduler ends; the names of those that were acknowledged."""
        told = []
        while len(told) < 100000:
            name = f"j{len(told)}"
            try:
                answer = c.rpc("createJob", description=description(name, command="x" * 20000))
            except (OSError, http.client.HTTPException, ValueError):
                break
            self.assertEqual(answer["responseCode"], "OK")
            told.append(name)
        return told

    def test_nothing_told_is_lost(self):
        with Cluster(simulate=True, flags=["-max_reschedule_task_delay_on_startup=1ms"], start=False) as c:
            log = next(a for a in c.scheduler.argv if a.startswith("-native_log_file_path="))
            c.scheduler.argv[c.scheduler.argv.index(log)] = f"-native_log_file_path={self.dir}/log"
            c.master.start()
            c.scheduler.start()
            told = self.fill(c)
            self.assertGreater(len(told), 10)
            self.assertEqual(c.scheduler.popen.wait(60), 1)
            self.assertIn("no space left on device", c.scheduler.log)
            subprocess.run(["mount", "-o", "remount,size=200m", self.dir], check=True)
            c.scheduler.start()
            names = {t["assignedTask"]["task"]["job"]["name"] for t in c.tasks()}
            self.assertLessEqual(set(told), names)
            self.assertLessEqual(len(names - set(told)), 1)


class StartTest(unittest.TestCase):
    """What the command line and the log folder can do wrong."""

    def run_scheduler(self, *flags, env=None, timeout=60):
        binary = os.path.join(os.environ["BUILD"], "aurora-scheduler")
        p = subprocess.run([binary, *flags], capture_output=True, text=True, timeout=timeout, env=dict(os.environ, **(env or {})))
        return p.returncode, p.stdout, p.stderr

    def required(self, folder):
        return ["-cluster_name=c", f"-native_log_file_path={folder}", "-mesos_master_address=127.0.0.1:1", "-ip=127.0.0.1"]

    def test_help(self):
        for flag in ("-h", "-help", "--help"):
            rc, out, err = self.run_scheduler(flag)
            self.assertEqual((rc, err), (0, ""))
            self.assertIn("-native_log_quorum_size=1", out)

    def test_wrong_flags(self):
        for flags, text in ((["-nonsense"], "unknown flag -nonsense"), (["-http_port=x"], "'x' is not an integer"),
                            ([], "-cluster_name is required"), (self.required("/x") + ["word"], "'word' is not a flag"),
                            (self.required("/x") + ["-tier_config=/no/such"], "can't read /no/such")):
            rc, out, err = self.run_scheduler(*flags)
            self.assertEqual((rc, out, err.count("\n")), (1, "", 1), err)
            self.assertIn(text, err)

    def test_a_port_that_is_taken(self):
        with socket.socket() as s, tempfile.TemporaryDirectory() as d:
            s.bind(("127.0.0.1", 0))
            s.listen()
            port = s.getsockname()[1]
            rc, _, err = self.run_scheduler(*self.required(d + "/log"), f"-http_port={port}")
            self.assertEqual(rc, 1)
            self.assertIn(f"can't listen on 127.0.0.1:{port} (flags -ip, -http_port): in use", err)
            rc, _, err = self.run_scheduler(*self.required(d + "/log"),
                                            env={"LIBPROCESS_IP": "127.0.0.1", "LIBPROCESS_PORT": str(port)})
            self.assertEqual(rc, 1)
            self.assertIn(f"127.0.0.1:{port} (LIBPROCESS_IP, LIBPROCESS_PORT): in use", err)

    def test_a_folder_that_is_not_a_log(self):
        with tempfile.TemporaryDirectory() as d:
            with open(f"{d}/notes.txt", "w", encoding="utf-8") as f:
                f.write("mine")
            rc, _, err = self.run_scheduler(*self.required(d))
            self.assertEqual(rc, 1)
            self.assertIn(f"{d}: it holds files of something else", err.splitlines()[-1])

    def test_libprocess_environment(self):
        """What Mesos is told, as a listener in the master's place sees it; and the log level."""
        env = {"LIBPROCESS_IP": "127.0.0.1", "LIBPROCESS_PORT": str(free_port()), "LIBPROCESS_ADVERTISE_IP": "127.0.0.2",
               "LIBPROCESS_ADVERTISE_PORT": "999", "GLOG_v": "1"}
        binary = os.path.join(os.environ["BUILD"], "aurora-scheduler")
        with socket.create_server(("127.0.0.1", 0)) as master, tempfile.TemporaryDirectory() as d, \
                open(f"{d}/err", "a+", encoding="utf-8") as err:
            master.settimeout(60)
            flags = [f.replace("127.0.0.1:1", f"127.0.0.1:{master.getsockname()[1]}") for f in self.required(d + "/log")]
            p = subprocess.Popen([binary, *flags], stdout=subprocess.PIPE, stderr=err, text=True, env=dict(os.environ, **env))
            try:
                line = p.stdout.readline()
                self.assertTrue(line.endswith(f" libprocess=127.0.0.1:{env['LIBPROCESS_PORT']}\n"), line)
                with master.accept()[0] as connection:
                    connection.settimeout(60)
                    self.assertIn(b"@127.0.0.2:999\r\n", connection.recv(65536))
                Http(int(line.split()[1].rsplit(":", 1)[1])).call("GET", "/health")
                wait_until(lambda: err.seek(0) == 0 and " DEBUG http method=GET target=/health" in err.read(), 30)
            finally:
                p.terminate()
                p.stdout.close()
                self.assertEqual(p.wait(30), 0)

    def test_wrong_libprocess_environment(self):
        with tempfile.TemporaryDirectory() as d:
            for env, text in (({"LIBPROCESS_PORT": "x"}, "LIBPROCESS_PORT: 'x' is not a port"),
                              ({"LIBPROCESS_ADVERTISE_PORT": "65536"}, "LIBPROCESS_ADVERTISE_PORT: '65536' is not a port"),
                              ({"LIBPROCESS_IP": "nonsense"}, "can't listen for Mesos on nonsense:0")):
                rc, out, err = self.run_scheduler(*self.required(d + "/log"), env=env)
                self.assertEqual((rc, out), (1, ""))
                self.assertIn(text, err.splitlines()[-1])
                self.assertFalse(os.path.exists(d + "/log"))

    def test_two_schedulers_on_one_log(self):
        with Cluster(simulate=True) as c:
            rc, _, err = self.run_scheduler(*self.required(f"{c.dir}/log"))
            self.assertEqual(rc, 1)
            self.assertIn(f"{c.dir}/log: another process has it open", err.splitlines()[-1])

    def test_systemd_is_told(self):
        with tempfile.TemporaryDirectory() as d, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(f"{d}/notify")
            notify.settimeout(30)
            env = {"NOTIFY_SOCKET": f"{d}/notify", "WATCHDOG_USEC": "300000", "JOURNAL_STREAM": "1:2", "GLOG_v": "1"}
            with Cluster(simulate=True, env=env) as c:
                def told_until(text):
                    told = []
                    while text not in told:
                        told.append(notify.recv(1000).decode())
                    return told
                self.assertIn("STATUS=PREPARING_STORAGE", told_until("READY=1"))
                told_until("WATCHDOG=1")
                c.scheduler.get("/vars")
                self.assertEqual(c.scheduler.stop(), 0)
                self.assertIn("STOPPING=1", told_until("STATUS=DEAD"))
                # The journal has its own time and reads the level from the line; GLOG_v=1 shows each request.
                self.assertRegex(c.scheduler.log, r"(?m)^<7>http method=GET target=/vars ")
                self.assertRegex(c.scheduler.log, r"(?m)^<6>lifecycle state=ACTIVE$")

    def test_free_ports_are_announced(self):
        with tempfile.TemporaryDirectory() as d:
            binary = os.path.join(os.environ["BUILD"], "aurora-scheduler")
            p = subprocess.Popen([binary, *self.required(d + "/log")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 text=True, env=dict(os.environ, LIBPROCESS_IP="127.0.0.1"))
            try:
                line = p.stdout.readline()
                self.assertRegex(line, r"^aurora-scheduler http=127\.0\.0\.1:\d+ libprocess=127\.0\.0\.1:\d+$")
                port = int(line.split()[1].rsplit(":", 1)[1])
                self.assertEqual(Http(port).call("GET", "/health")[2], b"OK\n")
                self.assertEqual(Http(port).call("GET", "/leaderhealth")[0], 502)
            finally:
                p.terminate()
                p.stdout.close()
                self.assertEqual(p.wait(30), 0)


if __name__ == "__main__":
    unittest.main()
