"""The processes that the demo runs beside itself: started, heard, and always stopped again."""

import socket
import subprocess
import time

from failure import Failure


class Child:
    """One process whose output goes to a log file. It is in a session of its own, so that Ctrl-C reaches the demo
    alone, which then stops its children in order."""

    def __init__(self, name, command, log, **options):
        self.name, self.log = name, log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stderr=output, stdin=options.pop("stdin", subprocess.DEVNULL), stdout=options.pop("stdout", output),
                start_new_session=True, **options,
            )

    def check(self):
        """Fails if it has ended."""
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended with exit code {self.process.returncode}")

    def tail(self, lines=20):
        """The end of its log."""
        try:
            return self.log.read_text(errors="replace").splitlines()[-lines:]
        except OSError:
            return []

    def stop(self):
        """Ends it: first asked, then killed. cargo-lambda ends its functions when it is asked; when it is killed, they
        end because the Runtime API is gone."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port():
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port, child, seconds=30):
    """Waits until the child listens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        child.check()
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Failure(f"{child.name} does not listen on port {port} after {seconds} s")
