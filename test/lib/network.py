"""A network that can fail: proxies on loopback between real processes, with cuts by who talks to whom.

    net = Network()
    port = net.proxy(target_port, dst="s0")              # libprocess: who talks is read from the message's sender
    port = net.proxy(zk_port, dst="zk", src="s0")        # anything else: who talks is known by the port
    net.name(advertised_port, "s0")
    net.cut("s0", "s1")                                  # nothing of s0 reaches s1
    net.heal()                                           # what was held goes on, as TCP does behind a short outage
    net.heal(reset=True)                                 # or: the connections had been given up

A libprocess connection carries messages one way, so cut(a, b) without cut(b, a) is a one-way partition. Where src is given, both ways of
the connection have their own direction: cut("zk", "s0") holds the answers only. While cut a connection neither moves bytes nor tells
that its other end has closed; connecting succeeds, as with a host whose packets are lost behind the handshake.
"""
import asyncio
import re
import threading

SENDER = re.compile(rb"^(?:User-Agent: libprocess/|Libprocess-From: )[^\r\n]*@[0-9.]+:([0-9]+)\r$", re.M | re.I)
HEADER_MAX = 80 << 10
CHUNK = 64 << 10


class Connection:
    """Two streams and two pumps. The far end is dialled at once, so that a port without a listener refuses."""

    def __init__(self, net, dst, src, near):
        self.net, self.dst, self.src, self.near, self.far = net, dst, src, near, None

    async def run(self, target):
        near_reader, near_writer = self.near
        try:
            far_reader, far_writer = self.far = await asyncio.open_connection("127.0.0.1", target)
            pumps = [asyncio.ensure_future(self.pump(near_reader, far_writer, True)),
                     asyncio.ensure_future(self.pump(far_reader, near_writer, False))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            await self.passing(True)  # an end of one side is told to the other, but not through a cut
            for p in pumps:
                p.cancel()
        except OSError:
            pass
        finally:
            self.close()

    async def pump(self, reader, writer, there):
        try:
            data = await (self.first(reader) if there and not self.src else reader.read(CHUNK))
            while data:
                await self.passing(there)
                if self.net.tap:
                    self.net.tap(self.src, there, data)
                writer.write(data)
                await writer.drain()
                data = await reader.read(CHUNK)
        except OSError:
            pass

    async def first(self, reader):
        """The first bytes, up to the name of the sender."""
        data = b""
        while len(data) < HEADER_MAX:
            more = await reader.read(CHUNK)
            data += more
            found = SENDER.search(data)
            if found or b"\r\n\r\n" in data or not more:
                self.src = self.net.names.get(int(found[1]) if found else 0, "?")
                break
        return data

    async def passing(self, there):
        way = (self.src, self.dst) if there else (self.dst, self.src)
        while way in self.net.cuts:
            await self.net.changed.wait()
        if self.net.delays.get(way):
            await asyncio.sleep(self.net.delays[way])

    def close(self):
        """What was passed on still arrives."""
        for _, writer in filter(None, (self.near, self.far)):
            writer.close()

    def reset(self):
        for _, writer in filter(None, (self.near, self.far)):
            writer.transport.abort()


class Network:
    def __init__(self):
        self.names, self.cuts, self.delays, self.connections, self.servers = {}, set(), {}, set(), []
        self.tap = None  # called with (src, whether from src, bytes) of all that passes
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.do(self.begin)

    async def begin(self):
        self.changed = asyncio.Event()

    def do(self, coroutine, *args):
        return asyncio.run_coroutine_threadsafe(coroutine(*args), self.loop).result(30)

    def name(self, port, name):
        self.names[port] = name

    def proxy(self, target, dst, src=None):
        """A port in front of the target port; src: who comes this way."""
        async def accept(reader, writer):
            c = Connection(self, dst, src, (reader, writer))
            self.connections.add(c)
            try:
                await c.run(target)
            except asyncio.CancelledError:
                c.close()
            finally:
                self.connections.discard(c)

        async def listen():
            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            self.servers.append(server)
            return server.sockets[0].getsockname()[1]
        return self.do(listen)

    def cut(self, *ways):
        """Each way is (src, dst)."""
        async def add():
            self.cuts.update(ways)
        self.do(add)

    def delay(self, seconds, *ways):
        async def add():
            self.delays.update((w, seconds) for w in ways)
        self.do(add)

    def heal(self, reset=False):
        """Nothing is cut or delayed any more. With reset, connections that were cut have been given up meanwhile."""
        async def mend():
            if reset:
                for c in list(self.connections):
                    if {(c.src, c.dst), (c.dst, c.src)} & self.cuts:
                        c.reset()
            self.cuts.clear()
            self.delays.clear()
            self.changed.set()
            self.changed = asyncio.Event()
        self.do(mend)

    def close(self):
        async def end():
            for s in self.servers:
                s.close()
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for t in tasks:
                t.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.do(end)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def both(a, b):
    """The two ways between a and b."""
    return (a, b), (b, a)
