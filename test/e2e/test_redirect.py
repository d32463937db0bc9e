"""Three schedulers, and a client at each: who leads serves, who does not sends on or says that nobody leads, for every kind of path and
method, and never in a circle."""
import http.client
import unittest
import urllib.parse

from thrift.protocol import TBinaryProtocol
from thrift.transport import TTransport

import thrift_api
from cluster import Cluster, wait_until

SESSION_MS = 10000  # long enough to look at what stands between a leader's death and the next one
DEADLINE_S = 60
HOPS_MAX = 5
LEADERS = ["/api", "/api/v1", "/api/v1/getJobs", "/apibeta/getJobs", "/apiclient/api_types.js", "/agents", "/slaves", "/cron", "/maintenance",
           "/mname/www/prod/x/0", "/offers", "/pendingtasks", "/quotas?role=www", "/state", "/tiers", "/utilization/total/www", "/scheduler",
           "/scheduler/www/prod?x=%20y", "/updates", "/assets/scheduler/index.html", "/scheduler/%E2%82%AC"]
OWN = ["/", "/health", "/leaderhealth", "/vars", "/vars.json", "/graphdata/", "/services", "/replica", "/structdump/task/x", "/nosuch",
       "/assets/x", "/quitquitquit"]
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE"]


class Following(TTransport.TTransportBase):
    """As Aurora's client sends (its TRequestsTransport): a Host without port, and a 307 is followed with the same body."""

    def __init__(self, port):
        self.url, self.out, self.answer, self.hops = f"http://127.0.0.1:{port}/api", b"", None, []

    def isOpen(self):
        return True

    def write(self, data):
        self.out += data

    def flush(self):
        body, url, self.out, self.hops = self.out, self.url, b"", []
        headers = {"Host": "127.0.0.1", "Accept": thrift_api.BINARY_TYPE, "Content-Type": thrift_api.BINARY_TYPE}
        while len(self.hops) < HOPS_MAX:
            self.hops.append(url)
            parts = urllib.parse.urlsplit(url)
            conn = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
            conn.request("POST", parts.path, body, headers)
            r = conn.getresponse()
            data, status, url = r.read(), r.status, r.headers["Location"]
            conn.close()
            if status != 307:
                break
        if status != 200:
            raise TTransport.TTransportException(message=f"status {status} after {self.hops}")
        self.answer = TTransport.TMemoryBuffer(data)

    def read(self, n):
        return self.answer.read(n)


class RedirectTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ttypes, cls.service = thrift_api.generate()
        cls.c = Cluster(schedulers=3, simulate=True, session_ms=SESSION_MS)
        cls.addClassCleanup(cls.c.close)
        cls.c.start()

    def setUp(self):
        self.leader = self.c.leader()
        self.followers = self.c.followers()
        for s in self.followers:
            wait_until(lambda s=s: s.request("GET", "/leaderhealth")[0] == 503, DEADLINE_S, what="it knows the leader")

    def call(self, s):
        """A Thrift call by way of s: the answer, and the addresses that were asked."""
        transport = Following(s.http_port)
        client = self.service.Client(TBinaryProtocol.TBinaryProtocol(transport))
        return client.getTasksStatus(self.ttypes.TaskQuery()), transport.hops

    def test_followers(self):
        base = f"http://127.0.0.1:{self.leader.http_port}"
        for s in self.followers:
            for method in METHODS:
                for path in LEADERS:
                    status, headers, body = s.request(method, path, b"{}" if method in ("POST", "PUT") else None)
                    self.assertEqual((status, headers["Location"], body), (307, base + path, b""), (method, path))
                for path in OWN if method != "POST" else OWN[:-1]:
                    status, headers, _ = s.request(method, path, b"{}" if method in ("POST", "PUT") else None)
                    self.assertNotEqual(status, 307, (method, path))
                    self.assertIsNone(headers["Location"], (method, path))
            for path in LEADERS:
                status, headers, _ = s.request("GET", path, headers={"Bypass-Leader-Redirect": "true"})
                self.assertIsNone(headers["Location"], path)

    def test_leader(self):
        for method in METHODS:
            for path in LEADERS + OWN[:-1]:
                status, headers, _ = self.leader.request(method, path, b"{}" if method in ("POST", "PUT") else None)
                self.assertNotIn(status, (307, 503), (method, path))
                self.assertIsNone(headers["Location"], (method, path))

    def test_thrift_client(self):
        for s in self.c.schedulers:
            answer, hops = self.call(s)
            self.assertEqual(answer.responseCode, self.ttypes.ResponseCode.OK)
            self.assertEqual(len(hops), 1 if s is self.leader else 2)

    def test_between_two_leaders(self):
        """The dead leader is announced until its session is over. Whoever has its address by then does not take itself for it."""
        dead = self.leader
        dead.kill9()
        for s in self.followers:
            self.assertEqual(s.request("POST", "/api")[0], 307)
        dead.start(active=False)
        wait_until(lambda: dead.var("zk_connection_state_CONNECTED") == 1, DEADLINE_S, what="it sees ZooKeeper")
        self.assertEqual(dead.request("GET", "/leaderhealth")[0], 502)
        status, headers, body = dead.request("POST", "/api/v1/getTasksStatus", "{}")
        self.assertEqual((status, headers["Location"]), (503, None))
        self.assertIn(b"No Leader Found", body)
        with self.assertRaisesRegex(TTransport.TTransportException, "status 503 after"):
            self.call(self.followers[0])
        self.assertIsNotNone(self.c.leader())
        for s in self.c.followers():
            wait_until(lambda s=s: s.request("GET", "/leaderhealth")[0] == 503, DEADLINE_S, what="it knows the leader")
            self.assertEqual(self.call(s)[0].responseCode, self.ttypes.ResponseCode.OK)


if __name__ == "__main__":
    unittest.main()
