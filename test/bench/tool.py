"""A program of test/bench that takes commands on its standard input and answers each with a line."""
import json
import select
import subprocess

from cluster import die_with_parent

SPARE_S = 60


class Tool:
    def __init__(self, *argv):
        self.argv = [str(a) for a in argv]
        self.popen = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent)

    def read(self, seconds=SPARE_S):
        """The next line. A program answers a command with one line and then waits, so nothing is left behind in a buffer."""
        line = self.popen.stdout.readline().decode().strip() if select.select([self.popen.stdout], [], [], seconds)[0] else ""
        if not line:
            raise RuntimeError(f"{' '.join(self.argv)}: no answer, status {self.popen.poll()}")
        return line

    def send(self, command):
        self.popen.stdin.write(command.encode() + b"\n")
        self.popen.stdin.flush()

    def ask(self, command, seconds=0):
        """The answer to a command that takes so many seconds."""
        self.send(command)
        return self.read(seconds + SPARE_S)

    def figures(self, command, seconds=0):
        return json.loads(self.ask(command, seconds))

    def close(self):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()
