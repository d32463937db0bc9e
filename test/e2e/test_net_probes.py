"""The HTTP server as programs of others see it: Python's http.client, curl's habits, and monit's documented probe."""
import http.client
import os
import socket
import subprocess
import threading
import time
import unittest

TOOL = os.path.join(os.environ.get("BUILD", "build/asan"), "test", "tool_httpd")
DEADLINE_S = 20


class Server:
    def __init__(self, **limits):
        self.process = subprocess.Popen([TOOL, *(f"{k}={v}" for k, v in limits.items())], stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """It must end by itself, with nothing left in its loop."""
        self.process.terminate()
        status = self.process.wait(DEADLINE_S)
        self.process.stdout.close()
        assert status == 0, status

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)

    def client(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, DEADLINE_S)


def read_all(s):
    parts = []
    while part := s.recv(65536):
        parts.append(part)
    return b"".join(parts)


class Probes(unittest.TestCase):
    def test_keep_alive_client(self):
        with Server() as server:
            c = server.client()
            for _ in range(100):
                c.request("GET", "/health")
                r = c.getresponse()
                self.assertEqual((r.status, r.read(), r.version), (200, b"OK\n", 11))
            first = c.sock
            c.request("POST", "/echo", body=(b"ab", b"cde"), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
            self.assertEqual(c.getresponse().read(), b"abcde")
            c.request("HEAD", "/big/1000000")
            r = c.getresponse()
            self.assertEqual((r.getheader("Content-Length"), r.read()), ("1000000", b""))
            c.request("GET", "/big/10000000")
            self.assertEqual(len(c.getresponse().read()), 10000000)
            self.assertIs(c.sock, first)
            c.close()

    def test_http_1_0_client(self):
        with Server() as server:
            c = server.client()
            c._http_vsn, c._http_vsn_str = 10, "HTTP/1.0"
            c.request("GET", "/health")
            r = c.getresponse()
            self.assertEqual((r.read(), r.getheader("Connection")), (b"OK\n", "close"))
            c.close()

    def test_monit_probe(self):
        """One CRLF and no blank line; the answer has to hold a line OK within two seconds."""
        with Server(bare_request_ms=500) as server:
            for half_close in (False, True):
                with server.connect() as s:
                    start = time.monotonic()
                    s.sendall(b"GET /health HTTP/1.0\r\n")
                    if half_close:
                        s.shutdown(socket.SHUT_WR)
                    self.assertIn(b"OK\n", read_all(s))
                    self.assertLess(time.monotonic() - start, 2)

    def test_pipelined_behind_a_slow_answer(self):
        with Server() as server, server.connect() as s:
            s.sendall(b"GET /slow HTTP/1.1\r\n\r\n" + b"GET /health HTTP/1.1\r\n\r\n" * 20)
            s.shutdown(socket.SHUT_WR)
            answer = read_all(s)
            self.assertEqual(answer.count(b"200 OK"), 21)
            self.assertLess(answer.index(b"slow\n"), answer.index(b"\r\n\r\nOK\n"))

    def test_slow_loris_does_not_hold_the_others(self):
        with Server(request_ms=300, max_connections=60) as server:
            held = [server.connect() for _ in range(50)]
            for s in held:
                s.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
            c = server.client()
            c.request("GET", "/health")
            self.assertEqual(c.getresponse().read(), b"OK\n")
            c.close()
            for s in held:
                self.assertIn(b"408 Request Timeout", read_all(s))
                s.close()

    def test_too_large_body_is_told_so_while_it_is_sent(self):
        with Server(max_body_bytes=1000) as server, server.connect() as s:
            s.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000)
            self.assertIn(b"413 Payload Too Large", read_all(s))

    def test_many_clients_at_once(self):
        with Server() as server:
            good = []

            def run():
                c = server.client()
                for i in range(50):
                    c.request("POST", "/echo", body=b"z" * (i * 997))
                    good.append(c.getresponse().read() == b"z" * (i * 997))
                c.close()

            threads = [threading.Thread(target=run) for _ in range(20)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual((len(good), all(good)), (1000, True))


if __name__ == "__main__":
    unittest.main()
