"""Starting a process of this package and knowing how it ended."""

import signal
import socket
import subprocess
import sys

_EXIT_WAIT_SECONDS = 5.0


class ChildProcess:
    """A process with one end of a socket pair. It ends when the other end is closed, however that happens."""

    def __init__(self, module: str, name: str, theirs: socket.socket):
        """Runs `main(descriptor)` of `module` with the socket `theirs`, which is closed here.

        `name` says in messages what the process is: "the engine process".
        """
        self._name = name
        # The child imports what this process would import, wherever it was started from.
        bootstrap = f"import sys; sys.path[:] = {sys.path!r}; from {module} import main; main({theirs.fileno()})"
        # A session of its own: an interrupt typed at the terminal reaches the parent only.
        self._process = subprocess.Popen(
            [sys.executable, "-c", bootstrap],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None until it was waited for."""
        return self._process.returncode

    def describe_exit(self) -> str:
        """How the process ended; waits for it, and kills it if it lingers after closing its socket."""
        if not self.wait():
            return f"{self._name} closed its connection and was stopped"
        status = self._process.returncode
        if status == -signal.SIGKILL:
            return f"{self._name} was killed (SIGKILL; where memory is short, by the system)"
        if status < 0:
            return f"{self._name} was ended by {signal.Signals(-status).name}"
        return f"{self._name} ended with status {status}"

    def wait(self) -> bool:
        """Waits for the process, whose socket is closed; False where it had to be killed."""
        try:
            self._process.wait(_EXIT_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True
