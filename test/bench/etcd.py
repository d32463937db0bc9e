"""Debian's etcd with one or more members on loopback, to measure beside."""
import json
import os
import urllib.error
import urllib.request

from cluster import Process, free_port, wait_until


class Member(Process):
    def __init__(self, directory, name, client, peer, cluster):
        self.client = client
        super().__init__(name, [
            "etcd", "--name", name, "--data-dir", os.path.join(directory, name), "--log-level", "error",
            "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
            "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-cluster", cluster], directory)

    @property
    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def status(self):
        """None: it doesn't answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.client}/v3/maintenance/status", data=b"{}")
        try:
            with urllib.request.urlopen(request, timeout=2) as r:
                return json.loads(r.read())
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def leads(self):
        s = self.status() if self.alive else None
        return bool(s) and s.get("leader") == s["header"]["member_id"]

    def sent_bytes(self):
        """To other members, by its own count."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.client}/metrics", timeout=10) as r:
            return sum(float(line.split()[-1]) for line in r.read().decode().splitlines()
                       if line.startswith("etcd_network_peer_sent_bytes_total{"))


class Etcd:
    def __init__(self, directory, n):
        os.makedirs(directory)
        names = [f"etcd-{n}-{i}" for i in range(n)]
        clients, peers = [free_port() for _ in names], [free_port() for _ in names]
        cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, peers))
        self.members = [Member(directory, name, c, p, cluster) for name, c, p in zip(names, clients, peers)]

    def start(self):
        for m in self.members:
            m.spawn()
        return self.leader()

    def leader(self, seconds=60):
        return wait_until(lambda: next((m for m in self.members if m.leads()), None), seconds, what="an etcd member leads")

    def wait_healthy(self, seconds=60):
        """All are up and know the same leader and are level with it."""
        def healthy():
            s = [m.status() for m in self.members]
            return all(s) and len({x.get("leader") for x in s}) == 1 and s[0].get("leader") and \
                max(int(x["raftAppliedIndex"]) for x in s) - min(int(x["raftAppliedIndex"]) for x in s) < 100
        wait_until(healthy, seconds, what="etcd is healthy")

    def close(self):
        for m in self.members:
            if m.alive:
                m.kill9()
