"""ZooKeeper as schedulers, masters and clients share it: what an independent client sees and may do there, and what becomes of schedulers
when others meddle, when a server of the ensemble dies, and when a session ends."""
import json
import logging
import os
import re
import struct
import subprocess
import unittest
import uuid

from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError, NoNodeError
from kazoo.security import make_acl, make_digest_acl

from cluster import Cluster, Master, Process, Scheduler, free_port, wait_until
from network import Network, both

logging.disable(logging.CRITICAL)  # kazoo tells of each attempt to connect
PATH, LOG = "/aurora/scheduler", "/aurora/log"
DEADLINE_S = 60


def client(test, address, credentials=None):
    k = KazooClient(address, timeout=10, auth_data=[("digest", credentials)] if credentials else None)
    k.start(timeout=DEADLINE_S)

    def close():
        k.stop()
        k.close()
    test.addCleanup(close)
    return k


def children(k, path, prefix=""):
    try:
        return sorted(n for n in k.get_children(path) if n.startswith(prefix))
    except NoNodeError:
        return []


def lock_number(name):
    return name.rsplit("lock-", 1)[-1]


def candidates(k, path=PATH):
    """Names in the order of Curator's locks."""
    return sorted(children(k, path, "_c_"), key=lock_number)


def only_member(k, path=PATH):
    """Where clients find the leader, once it is announced."""
    def look():
        names = children(k, path, "member_")
        return json.loads(k.get(f"{path}/{names[0]}")[0]) if len(names) == 1 else None
    return wait_until(look, DEADLINE_S, what="one member")


class Cleaned(unittest.TestCase):
    def cluster(self, **args):
        c = Cluster(**args)
        self.addCleanup(c.close)
        return c

    def ends(self, s, status, reason):
        self.assertEqual(s.popen.wait(DEADLINE_S), status, s.log[-3000:])
        self.assertEqual(len(re.findall(f"stopping status={status} reason=\"[^\n]*{reason}", s.log)), 1, s.log[-3000:])


class EnsembleTest(unittest.TestCase):
    """Three schedulers, three ZooKeeper servers. Each test leaves three schedulers behind of which one leads."""

    @classmethod
    def setUpClass(cls):
        cls.c = Cluster(schedulers=3, simulate=True, zk=3, session_ms=8000)
        cls.addClassCleanup(cls.c.close)
        cls.c.start()

    def setUp(self):
        self.leader = self.c.leader()
        self.mark = len(self.leader.log)
        self.k = client(self, self.c.zk.address)

    ends = Cleaned.ends

    def test_what_clients_see(self):
        names = candidates(self.k)
        self.assertEqual(len(names), 3)
        for n in names:
            self.assertRegex(n, r"^_c_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}-lock-\d{10}$")
            data, stat = self.k.get(f"{PATH}/{n}")
            self.assertEqual(data, b"127.0.0.1")
            self.assertNotEqual(stat.ephemeralOwner, 0)
        endpoint = {"host": "127.0.0.1", "port": self.leader.http_port}
        self.assertEqual(only_member(self.k), {"serviceEndpoint": endpoint, "additionalEndpoints": {"http": endpoint}, "status": "ALIVE"})
        member = children(self.k, PATH, "member_")[0]
        self.assertRegex(member, r"^member_\d{10}$")
        first = self.k.get(f"{PATH}/{names[0]}")[1].ephemeralOwner
        self.assertEqual(self.k.get(f"{PATH}/{member}")[1].ephemeralOwner, first)
        pids = [self.k.get(f"{LOG}/{n}")[0].decode() for n in children(self.k, LOG)]
        self.assertEqual(sorted(pids), sorted(f"log-replica(1)@127.0.0.1:{s.libprocess_port}" for s in self.c.schedulers))
        for n in children(self.k, LOG):
            self.assertRegex(n, r"^\d{10}$")

    def test_another_server_of_the_ensemble(self):
        """The leader moves to one that lives, within its session, and keeps its office."""
        session = re.findall(r"session=0x([0-9a-f]+)", self.leader.log)[-1]
        member, owner = children(self.k, PATH, "member_"), int(session, 16)
        server = wait_until(lambda: self.c.zk.server_of(session), 30, what="the leader's server")
        server.kill9()
        wait_until(lambda: "zookeeper-session state=reconnected" in self.leader.log[self.mark:], DEADLINE_S, what="it is back")
        self.assertNotIn(self.c.zk.server_of(session), (None, server))
        self.assertTrue(self.leader.leads())
        self.assertEqual(self.c.rpc("getTasksStatus", query={})["responseCode"], "OK")
        k = client(self, self.c.zk.address)
        self.assertEqual(children(k, PATH, "member_"), member)
        self.assertEqual(k.get(f"{PATH}/{member[0]}")[1].ephemeralOwner, owner)
        self.assertNotIn("state=lost", self.leader.log[self.mark:])
        server.start()

    def test_deleted_advertisement(self):
        """It is made again."""
        before = children(self.k, PATH, "member_")
        self.k.delete(f"{PATH}/{before[0]}")
        wait_until(lambda: children(self.k, PATH, "member_") not in ([], before), DEADLINE_S, what="another one")
        self.assertEqual(only_member(self.k)["serviceEndpoint"]["port"], self.leader.http_port)
        wait_until(self.leader.leads, DEADLINE_S, what="it says that it leads")

    def test_stopped_leader(self):
        """Its nodes go with it, not with its session."""
        member, first = children(self.k, PATH, "member_")[0], candidates(self.k)[0]
        self.assertEqual(self.leader.stop(), 0)
        left = children(self.k, PATH)
        self.assertNotIn(member, left)
        self.assertNotIn(first, left)
        self.assertNotIn(f"log-replica(1)@127.0.0.1:{self.leader.libprocess_port}",
                         [self.k.get(f"{LOG}/{n}")[0].decode() for n in children(self.k, LOG)])
        self.leader.start(active=False)
        self.c.leader()
        self.c.wait_votes()

    def test_deleted_candidate(self):
        """The next in line is elected, so the leader goes."""
        self.k.delete(f"{PATH}/{candidates(self.k)[0]}")
        self.ends(self.leader, 0, "our candidate node was deleted")
        self.assertIsNot(self.c.leader(), self.leader)
        self.leader.start(active=False)
        self.c.wait_votes()

    def test_two_advertisements(self):
        """While two claim to lead nobody is sent anywhere."""
        name = self.k.create(f"{PATH}/member_", b'{"serviceEndpoint":{"host":"h","port":1},"status":"ALIVE"}', sequence=True)
        for s in self.c.schedulers:
            wait_until(lambda s=s: s.request("GET", "/leaderhealth")[0] == 502, DEADLINE_S, what="no leader")
            status, headers, body = s.request("POST", "/api", b"")
            self.assertEqual((status, headers["Location"]), (503, None))
            self.assertIn(b"No Leader Found", body)
        self.k.delete(name)
        wait_until(self.leader.leads, DEADLINE_S, what="it says that it leads")

    def test_unreadable_advertisement(self):
        """Nobody follows it, and what only looks like one does no harm."""
        others = [self.k.create(f"{PATH}/{n}", b"") for n in ("members", "leader", "singleton_candidate_0000000000")]
        member = f"{PATH}/{children(self.k, PATH, 'member_')[0]}"
        data = self.k.get(member)[0]
        self.k.set(member, b"{")
        name = self.k.create(f"{PATH}/x", b"", ephemeral=True)  # so that all look again
        others.append(name)
        follower = self.c.followers()[0]
        wait_until(lambda: follower.request("GET", "/leaderhealth")[0] == 502, DEADLINE_S, what="no leader")
        self.assertIn("leader-unreadable", follower.log)
        self.k.set(member, data)
        for n in others:
            self.k.delete(n)
        wait_until(self.leader.leads, DEADLINE_S, what="it says that it leads")


class Curator(Process):
    """A real Curator, Aurora's own library, that stands for election at our path."""

    def __init__(self, c):
        jars = ":".join(f"/usr/share/java/{j}.jar" for j in ("bsh", "curator-client", "curator-framework", "curator-recipes", "guava",
                                                             "slf4j-nop", "zookeeper"))
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib", "curator_rival.bsh")
        super().__init__("curator", ["java", "-XX:TieredStopAtLevel=1", "-cp", jars, "bsh.Interpreter", script, c.zk.address, PATH], c.dir)

    def elected(self):
        return "elected" in self.log

    def resign(self):
        self.popen.stdin.write(b"\n")
        self.popen.stdin.close()
        return self.popen.wait(DEADLINE_S)


class RivalTest(Cleaned):
    def test_a_real_curator(self):
        """Both keep to the same order: who stands behind the other waits until that one is gone."""
        c = self.cluster(zk=True, simulate=True)
        c.master.start()
        c.zk.start()
        k = client(self, c.zk.address)
        rival = Curator(c)
        self.addCleanup(lambda: rival.popen.poll() is None and rival.kill9())
        rival.spawn(stdin=subprocess.PIPE)
        wait_until(rival.elected, DEADLINE_S, what="Curator is elected")
        c.scheduler.start(active=False)
        wait_until(lambda: len(candidates(k)) == 2, DEADLINE_S, what="both stand")
        self.assertEqual(c.scheduler.request("GET", "/leaderhealth")[0], 502)
        self.assertEqual(c.scheduler.var("scheduler_lifecycle_STORAGE_PREPARED"), 1)
        self.assertEqual(rival.resign(), 0)
        c.leader()
        os.unlink(rival.log_path)
        rival.spawn(stdin=subprocess.PIPE)
        wait_until(lambda: len(candidates(k)) == 2, DEADLINE_S, what="both stand")
        self.assertTrue(c.scheduler.leads())
        self.assertFalse(rival.elected())
        self.assertEqual(c.scheduler.stop(), 0)
        wait_until(rival.elected, DEADLINE_S, what="Curator is elected")
        self.assertEqual(rival.resign(), 0)

    def test_a_rival_in_curators_form(self):
        """One that stands before us in line: no scheduler leads until it is gone. Then it stands behind."""
        c = self.cluster(zk=True, simulate=True)
        c.master.start()
        c.zk.start()
        k = client(self, c.zk.address)
        k.ensure_path(PATH)
        rival = k.create(f"{PATH}/_c_{uuid.uuid4()}-lock-", b"elsewhere", ephemeral=True, sequence=True)
        c.scheduler.start(active=False)
        wait_until(lambda: len(candidates(k)) == 2, DEADLINE_S, what="both stand")
        self.assertEqual(c.scheduler.request("GET", "/leaderhealth")[0], 502)
        self.assertEqual(c.scheduler.var("scheduler_lifecycle_STORAGE_PREPARED"), 1)
        k.create(f"{PATH}/_c_{uuid.uuid4()}-lock-", b"elsewhere", ephemeral=True, sequence=True)
        k.delete(rival)
        c.leader()
        self.assertEqual(only_member(k)["serviceEndpoint"]["port"], c.scheduler.http_port)
        self.assertEqual(c.scheduler.stop(), 0)
        self.assertEqual(children(k, PATH, "member_"), [])
        self.assertEqual(len(candidates(k)), 1)


class SessionTest(Cleaned):
    def test_expired_by_the_server(self):
        """The session ends long before its time-out: another client closes it, who read its password on the wire."""
        net, seen = Network(), {}
        self.addCleanup(net.close)

        def tap(src, there, data):
            if not there and src not in seen and len(data) >= 36:  # ConnectResponse: length, version, timeout, id, password
                seen[src] = struct.unpack(">iiiqi16s", data[:40])[3::2]
        net.tap = tap
        c = self.cluster(zk=True, simulate=True, net=net, session_ms=60000)
        c.start()
        net.cut(*both("s0", "zk"))  # else the two take the session from each other
        thief = KazooClient(c.zk.address, timeout=5, client_id=seen["s0"])
        thief.start(timeout=DEADLINE_S)
        self.assertEqual(thief.client_id[0], seen["s0"][0])
        thief.stop()
        thief.close()
        net.heal()
        self.ends(c.scheduler, 0, "the ZooKeeper session was lost")
        c.scheduler.start(active=False)
        c.leader()


class PermissionTest(Cleaned):
    """-zk_digest_credentials, with -zk_chroot_path for the election's path."""

    def setUp(self):
        self.c = self.cluster(zk=True, simulate=True, flags=["-zk_chroot_path=/base", "-zk_digest_credentials=aurora:secret"])
        self.c.start()
        self.k = client(self, self.c.zk.address)

    def test_what_others_may(self):
        member = f"/base{PATH}/{children(self.k, '/base' + PATH, 'member_')[0]}"
        own = {make_digest_acl("aurora", "secret", all=True), make_acl("world", "anyone", read=True)}
        owner = client(self, self.c.zk.address, "aurora:secret")  # to others the server does not show the digest
        for path in ("/base", "/base/aurora", "/base" + PATH, member, f"/base{PATH}/{candidates(self.k, '/base' + PATH)[0]}", LOG,
                     f"{LOG}/{children(self.k, LOG)[0]}"):
            self.assertEqual(set(owner.get_acls(path)[0]), own, path)
            self.k.get(path)
            self.assertRaises(NoAuthError, self.k.set, path, b"x")
        self.assertRaises(NoAuthError, self.k.delete, member)
        self.assertRaises(NoAuthError, self.k.create, f"/base{PATH}/_c_{uuid.uuid4()}-lock-", b"x", sequence=True)
        self.assertRaises(NoAuthError, self.k.create, f"{LOG}/", b"x", sequence=True)
        self.assertFalse(self.k.exists(PATH))
        self.assertNotIn("secret", self.c.scheduler.log)
        owner.delete(member)
        wait_until(lambda: children(self.k, "/base" + PATH, "member_"), DEADLINE_S, what="it is made again")

    def test_wrong_credentials(self):
        """With others or none the process ends, and says which flag and which path."""
        s = self.c.scheduler
        self.assertEqual(s.stop(), 0)
        s.argv.remove("-zk_digest_credentials=aurora:secret")
        for flags in (["-zk_digest_credentials=aurora:wrong"], []):
            mark = len(s.log)
            argv, s.argv = s.argv, s.argv + flags
            s.spawn()
            s.argv = argv
            self.assertEqual(s.popen.wait(DEADLINE_S), 1)
            self.assertRegex(s.log[mark:], "stopping status=1 reason=\"no permission to [^\n]* /[^\n]* \\(-zk_digest_credentials\\)")
            self.assertNotIn("wrong", s.log)


class GivenPathTest(Cleaned):
    def test_parents_that_are_closed_to_us(self):
        """An administrator has made the paths; only there may we create."""
        c = self.cluster(zk=True, simulate=True, flags=["-zk_digest_credentials=aurora:secret"])
        c.master.start()
        c.zk.start()
        k = client(self, c.zk.address, "admin:admin")
        ours = [make_digest_acl("admin", "admin", all=True), make_digest_acl("aurora", "secret", all=True)]
        k.create("/aurora", b"", acl=ours[:1] + [make_acl("world", "anyone", read=True)])
        k.create(PATH, b"", acl=ours)
        k.create(LOG, b"", acl=ours)
        c.scheduler.start(active=False)
        c.leader()


class MasterTest(Cleaned):
    """-mesos_master_address=zk://..."""

    def announce(self, master, name="json.info_"):
        info = {"id": str(uuid.uuid4()), "ip": 16777343, "port": master.port, "pid": f"master@127.0.0.1:{master.port}",
                "hostname": "127.0.0.1", "version": "1.12.0", "address": {"hostname": "127.0.0.1", "ip": "127.0.0.1", "port": master.port}}
        return self.k.create(f"/mesos/{name}", json.dumps(info).encode(), ephemeral=True, sequence=name[-1] == "_")

    def registered_at(self, s, master):
        wait_until(lambda: s.var("framework_registered") == 1 and
                   any(f["state"] == "connected" for f in json.loads(master.get("/state"))["frameworks"]), DEADLINE_S, what="registered")

    def another_master(self, c):
        folder = os.path.join(c.dir, "other")
        os.mkdir(folder)
        m = Master(c.build, folder, free_port(), 1, True, None, [])
        self.addCleanup(lambda: m.popen and m.stop())
        m.start()
        return m

    def test_fail_over(self):
        c = self.cluster(zk=True, simulate=True, master_path="/mesos", flags=["-max_registration_delay=5mins"])
        c.master.start()
        c.zk.start()
        self.k = client(self, c.zk.address)
        s, first, second = c.scheduler, c.master, self.another_master(c)
        s.start(active=False)
        wait_until(lambda: "mesos_master detected=none" in s.log, DEADLINE_S, what="it says that there is none")
        self.assertEqual(s.request("GET", "/leaderhealth")[0], 502)  # elected, but of no use yet
        self.k.ensure_path("/mesos/log_replicas")  # Mesos's own log lives there, and is no master
        leading = self.announce(first)
        c.leader()
        self.registered_at(s, first)
        standby = self.announce(second)
        self.k.delete(leading)
        first.stop()
        self.registered_at(s, second)
        self.assertIn(f"mesos_master detected=master@127.0.0.1:{second.port}", s.log)
        self.assertTrue(s.leads())
        garbage = self.k.create("/mesos/json.info_0000000000", b"[]")
        wait_until(lambda: "mesos-master-unreadable" in s.log, DEADLINE_S, what="it says what it can't read")
        self.k.delete(garbage)
        self.registered_at(s, second)
        self.k.delete(standby)
        wait_until(lambda: s.log.count("mesos_master detected=none") >= 2, DEADLINE_S, what="it says that there is none")
        self.assertTrue(s.leads())

    def test_a_session_of_its_own(self):
        """Without -zk_endpoints, by a host name, with credentials."""
        c = self.cluster(zk=True, simulate=True, start=False)
        c.master.start()
        c.zk.start()
        self.k = client(self, c.zk.address, "mesos:pw")
        self.k.create("/mesos", b"", acl=[make_digest_acl("mesos", "pw", all=True)])
        self.announce(c.master)
        s = Scheduler(c.build, c.dir, f"zk://mesos:pw@localhost:{c.zk.port}/mesos", [], None, "-alone")
        c.schedulers.append(s)
        s.start()
        self.registered_at(s, c.master)
        wait_until(s.leads, DEADLINE_S, what="it leads")


if __name__ == "__main__":
    unittest.main()
