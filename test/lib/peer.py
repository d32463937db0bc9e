"""A scripted v0 scheduler that speaks libprocess by itself: an independent peer for mesos-local, and for a real master."""
import hashlib
import hmac
import os
import queue
import re
import socket
import threading
import time

from miniproto import Schema

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCHEMA = Schema(*(f"{ROOT}/mesos/{n}.proto" for n in ("mesos", "messages", "scheduler", "authentication")))


def read_request(f):
    """One HTTP request of libprocess: (path, headers, body) or None at the end."""
    line = f.readline()
    if not line:
        return None
    headers = {}
    while True:
        h = f.readline().rstrip(b"\r\n")
        if not h:
            break
        k, _, v = h.partition(b":")
        headers[k.strip().lower().decode()] = v.strip().decode()
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while True:
            n = int(f.readline().split(b";")[0], 16)
            body += f.read(n)
            f.readline()
            if n == 0:
                break
    elif "content-length" in headers:
        body = f.read(int(headers["content-length"]))
    return line.split(b" ")[1].decode(), headers, body


class Peer:
    """One process id at an address of its own. Messages that come are put into `inbox` as (name, dict, sender)."""

    def __init__(self, master, pid_id="scheduler-1"):
        self.master, self.id = master, pid_id
        self.inbox, self.passed = queue.Queue(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.accepted, self.outgoing = [], {}
        self.framework_id, self.closed = None, False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.closed = True
        for s in [self.listener, *self.accepted, *list(self.outgoing.values())]:
            drop(s)

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.accepted.append(s)
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        f = s.makefile("rb")
        try:
            while (request := read_request(f)) is not None:
                path, headers, body = request
                name = path.rsplit("/", 1)[1]
                s.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                self.inbox.put((name.rsplit(".", 1)[1], SCHEMA.decode(name, body), headers["libprocess-from"]))
        except (OSError, ValueError):
            pass
        f.close()
        s.close()
        if not self.closed:
            self.inbox.put(("CLOSED", {}, None))

    def drop_accepted(self):
        """Closes the connections that the master has opened."""
        old, self.accepted = self.accepted, []
        for s in old:
            drop(s)

    # ---- sending ----

    def send(self, to, name, value, as_id=None):
        """to: "id@ip:port"."""
        rid, address = to.split("@")
        body = SCHEMA.encode(name, value)
        pid = f"{as_id or self.id}@{self.address}"
        head = f"POST /{rid}/{name} HTTP/1.1\r\nUser-Agent: libprocess/{pid}\r\nLibprocess-From: {pid}\r\nConnection: Keep-Alive\r\nHost: \r\n"
        framed = head.encode() + (b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"\r\n")
        try:
            self._connection(address).sendall(framed)
        except OSError:
            self.outgoing.pop(address, None)
            self._connection(address).sendall(framed)

    def _connection(self, address):
        s = self.outgoing.get(address)
        if s is None:
            host, port = address.split(":")
            s = self.outgoing[address] = socket.create_connection((host, int(port)), timeout=30)
            threading.Thread(target=self._discard, args=(address, s), daemon=True).start()
        return s

    def _discard(self, address, s):
        """Answers are of no interest; the end is."""
        try:
            s.settimeout(None)
            while s.recv(65536):
                pass
        except OSError:
            pass
        if self.outgoing.get(address) is s:
            del self.outgoing[address]
        s.close()

    def call(self, type_, **parts):
        value = dict(type=type_, **parts)
        if self.framework_id and "framework_id" not in value:
            value["framework_id"] = {"value": self.framework_id}
        self.send(f"master@{self.master}", "mesos.scheduler.Call", value)

    def subscribe(self, force=False, framework_id=None, **info):
        info = dict(dict(user="root", name="test", failover_timeout=600.0, checkpoint=True), **info)
        framework_id = framework_id or self.framework_id
        value = dict(type="SUBSCRIBE", subscribe=dict(framework_info=info, force=force))
        if framework_id:
            value["framework_id"] = info["id"] = {"value": framework_id}
        self.send(f"master@{self.master}", "mesos.scheduler.Call", value)

    def register(self, **info):
        """Subscribes and waits until that is answered."""
        self.subscribe(**info)
        return self.registered()

    def registered(self, seconds=30):
        m = self.expect("FrameworkRegisteredMessage", "FrameworkReregisteredMessage", seconds=seconds)
        self.framework_id = m["framework_id"]["value"]
        return m

    def ack(self, update):
        s = update["update"]["status"]
        self.call("ACKNOWLEDGE", acknowledge=dict(slave_id=s["slave_id"], task_id=s["task_id"], uuid=s["uuid"]))

    def accept(self, offer, *tasks, refuse=0.0):
        self.call("ACCEPT", accept=dict(offer_ids=[offer["id"]], filters=dict(refuse_seconds=refuse),
                                        operations=[dict(type="LAUNCH", launch=dict(task_infos=list(tasks)))]))

    def kill(self, task_id, **more):
        self.call("KILL", kill=dict(task_id={"value": task_id}, **more))

    # ---- receiving ----

    def expect(self, *names, seconds=30, where=lambda m: True):
        """The next message of one of these names; others are kept in `passed`."""
        end = time.monotonic() + seconds
        while True:
            try:
                name, value, sender = self.inbox.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self.id}: no {names} within {seconds} s; passed: {self.passed[-10:]}") from None
            if name in names and where(value):
                return dict(value, _from=sender, _name=name)
            self.passed.append((name, value))

    def offer(self, where=lambda o: True):
        m = self.expect("ResourceOffersMessage", where=lambda m: any(where(o) for o in m["offers"]))
        return next(o for o in m["offers"] if where(o))

    def update(self, task_id=None, state=None, ack=True):
        """The next status update (of that task and state); acknowledged if it wants it, as are those passed over."""
        while True:
            m = self.expect("StatusUpdateMessage")
            s = m["update"]["status"]
            if ack and "uuid" in s:
                self.ack(m)
            if task_id in (None, s["task_id"]["value"]) and state in (None, s["state"]):
                return dict(s, latest_state=m["update"].get("latest_state"))

    # ---- authentication ----

    def authenticate(self, principal, secret, as_id="crammd5-authenticatee(1)"):
        """Returns the name of the last message."""
        self.send(f"master@{self.master}", "mesos.internal.AuthenticateMessage", dict(pid=f"{self.id}@{self.address}"), as_id)
        m = self.expect("AuthenticationMechanismsMessage", "AuthenticationErrorMessage")
        if m["_name"] == "AuthenticationErrorMessage":
            return m["_name"]
        assert m["mechanisms"] == ["CRAM-MD5"], m
        self.send(m["_from"], "mesos.internal.AuthenticationStartMessage", dict(mechanism="CRAM-MD5"), as_id)
        step = self.expect("AuthenticationStepMessage")
        digest = hmac.new(secret.encode(), step["data"], hashlib.md5).hexdigest()
        self.send(m["_from"], "mesos.internal.AuthenticationStepMessage", dict(data=f"{principal} {digest}".encode()), as_id)
        return self.expect("AuthenticationCompletedMessage", "AuthenticationFailedMessage")["_name"]


def scalar(name, value):
    return dict(name=name, type="SCALAR", scalar=dict(value=float(value)))


def ports(begin, end):
    return dict(name="ports", type="RANGES", ranges=dict(range=[dict(begin=begin, end=end)]))


def command_task(task_id, offer, command, cpus=0.1, mem=32, **more):
    """command: for the shell, or a whole CommandInfo."""
    return dict(dict(name=task_id, task_id={"value": task_id}, slave_id=offer["slave_id"],
                     command=command if isinstance(command, dict) else dict(value=command),
                     resources=[scalar("cpus", cpus), scalar("mem", mem)]), **more)


def drop(s):
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    s.close()


def ready_port(line):
    """The port of mesos-local's one line."""
    return int(re.fullmatch(r"listening ip=\S+ port=(\d+)\n", line).group(1))
