"""The launcher process: single-threaded, forks one process per container and reports how each ends.

It guarantees that **no container process outlives the node**, not even after a ``SIGKILL`` of the node.

- Where the kernel allows it, the launcher lives in its own PID namespace: when it ends, the kernel ends every process
  in the namespace, daemons included. The kernel ends the launcher with the node.
- Elsewhere it notices the closed socket, ends every process group it started, and adopts and ends their orphans.

Protocol. Node to launcher: a frame is a 4-byte big-endian length and JSON, ``{"launch": LaunchOrder}`` (stdout and
stderr travel with the length as file descriptors) or ``{"signal": n, "order_id": i, "group": bool}``. Launcher to node:
JSON lines ``{"ready": true, "isolated": bool}``, ``{"order_id": i, "started": pid}``, ``{"order_id": i, "refused":
message}``, ``{"order_id": i, "exited": code, "signal": n or null, "cpu_seconds": s}``. ``exited`` is sent when all
processes of that container are gone; ``cpu_seconds`` is what its first process and those that it waited for have used.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import selectors
import signal
import socket
import sys
import termios
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localcluster.node.launcher import syscalls
from localcluster.node.launcher.order import LaunchOrder
from localcluster.node.launcher.view import View

CONTAINER_ID = "BUBU_CONTAINER_ID"
HEADER_BYTES = 4
_NAMESPACES = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWUTS
_EXPENDABLE = "500"  # oom_score_adj: when memory runs out, the kernel ends a container before the cluster
_HANDLED_SIGNALS = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


@dataclass(slots=True)
class _Container:
    order_id: int
    pid: int
    error_pipe: int
    badge: bytes
    """An environment entry that only this container has: ``BUBU_CONTAINER_ID=…``; empty if it has none."""
    namespace: int | None = None
    """Its mount namespace, held open: otherwise the kernel could give the same number to the next container.

    The namespace identifies the container's stray processes; without one, the badge does.
    """


class Zygote:
    """The loop: receives orders and reports outcomes, until the node closes the socket."""

    def __init__(self, control: socket.socket, view: View | None, niceness: int) -> None:
        self._control = control
        self._view = view
        self._niceness = niceness
        self._containers: dict[int, _Container] = {}
        self._null = os.open(os.devnull, os.O_RDWR)
        self._selector = selectors.DefaultSelector()
        self._wakeup, wakeup_write = socket.socketpair()
        self._wakeup.setblocking(False)
        wakeup_write.setblocking(False)
        self._wakeup_write = wakeup_write
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_write.fileno(), warn_on_full_buffer=False)

    def run(self) -> None:
        self._selector.register(self._control, selectors.EVENT_READ, self._obey)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._reap)
        self._send(ready=True, isolated=self._view is not None)
        try:
            while True:
                for key, _ in self._selector.select():
                    key.data()
        except (EOFError, ConnectionError):
            return  # the node is gone; the finally block ends its containers
        finally:
            self._end_everything()

    # orders

    def _obey(self) -> None:
        header, descriptors, _, _ = socket.recv_fds(self._control, HEADER_BYTES, 2)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        message = json.loads(_receive_exactly(self._control, int.from_bytes(_complete(self._control, header), "big")))
        if "launch" in message:
            try:
                self._launch(LaunchOrder.from_wire(message["launch"]), *descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        else:
            self._signal(message["order_id"], message["signal"], group=message["group"])

    def _launch(self, order: LaunchOrder, stdout: int, stderr: int) -> None:
        error_read, error_write = os.pipe()
        launcher = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(error_read)
            os.close(error_write)
            self._send(order_id=order.order_id, refused=f"fork: {error.strerror}")
            return
        if pid == 0:
            _become(order, self._view, self._niceness, launcher, (self._null, stdout, stderr), error_write)
        os.close(error_write)
        badge = f"{CONTAINER_ID}={order.env[CONTAINER_ID]}".encode() if CONTAINER_ID in order.env else b""
        container = _Container(order.order_id, pid, error_read, badge)
        self._containers[pid] = container
        self._selector.register(error_read, selectors.EVENT_READ, lambda: self._started(container))

    def _started(self, container: _Container) -> None:
        """Read the error pipe: it is empty after a successful ``execve``; otherwise it says why the start failed."""
        if container.error_pipe < 0:
            return
        problem = os.read(container.error_pipe, 4096).decode(errors="replace")
        self._selector.unregister(container.error_pipe)
        os.close(container.error_pipe)
        container.error_pipe = -1
        if problem:
            del self._containers[container.pid]
            self._send(order_id=container.order_id, refused=problem)
            return
        if self._view is not None:
            with suppress(OSError):  # it has already ended
                container.namespace = os.open(f"/proc/{container.pid}/ns/mnt", os.O_RDONLY)
        self._send(order_id=container.order_id, started=container.pid)

    def _signal(self, order_id: int, number: int, *, group: bool) -> None:
        for container in self._containers.values():
            if container.order_id == order_id:
                with suppress(ProcessLookupError):
                    (os.killpg if group else os.kill)(container.pid, number)

    # outcomes

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._wakeup.recv(4096)
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            container = self._containers.get(pid)
            if container is None:
                continue  # an adopted orphan, or a child whose refusal was reported
            self._started(container)
            if self._containers.pop(pid, None) is None:
                continue
            self._end_strays(container)
            code = os.waitstatus_to_exitcode(status)
            ended = {"exited": max(code, 0), "signal": -code if code < 0 else None}
            self._send(order_id=container.order_id, **ended, cpu_seconds=used.ru_utime + used.ru_stime)

    def _end_strays(self, container: _Container) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(container.pid, signal.SIGKILL)
        if container.namespace is not None:
            number = os.fstat(container.namespace).st_ino
            strays = [pid for pid in _processes() if _mount_namespace(pid) == number]
        else:
            strays = [pid for pid in _children() if pid not in self._containers and _wears(pid, container.badge)]
        for pid in strays:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if container.namespace is not None:
            os.close(container.namespace)

    def _end_everything(self) -> None:
        for pid in self._containers:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for pid in _children():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def _send(self, **message: object) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")


def _become(
    order: LaunchOrder,
    view: View | None,
    niceness: int,
    launcher: int,
    descriptors: tuple[int, int, int],
    error_pipe: int,
) -> None:
    """In the forked child: become the container's program. Never returns."""
    problem = "unknown problem"
    try:
        # A process group, but no session: where Linux shares the processor by session, a container would otherwise get
        # as much of it as the whole cluster, whatever its niceness.
        os.setpgid(0, 0)
        os.nice(niceness)
        if syscalls.AVAILABLE:
            syscalls.die_with_parent(signal.SIGKILL)
            with suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text(_EXPENDABLE)
        if os.getppid() != launcher:
            os._exit(1)  # the launcher died before ``die_with_parent`` took effect
        signal.set_wakeup_fd(-1)
        for number in _HANDLED_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
        if view is not None:
            syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS)
            view.add(order.mounts)
            if order.hostname:
                socket.sethostname(order.hostname)
        if order.no_new_privileges and syscalls.AVAILABLE:
            syscalls.forbid_new_privileges()
        os.chdir(order.workdir)
        os.umask(0o022)
        os.execvpe(order.argv[0], order.argv, order.env)  # noqa: S606 - a container is a program, not a shell line
    except FileNotFoundError as error:
        missing = error.filename or order.argv[0]
        if missing == order.workdir:
            problem = f"working directory {missing!r} does not exist"
        else:
            problem = f"exec: {order.argv[0]!r}: executable file not found ({error.strerror}: {missing})"
    except OSError as error:
        problem = f"exec: {order.argv[0]!r}: {error.strerror}"
    except BaseException as error:  # noqa: BLE001 - the child must end here, and say why
        problem = f"{type(error).__name__}: {error}"
    os.write(error_pipe, problem.encode(errors="replace")[:4096])
    os._exit(127)


def _leave_terminal() -> None:
    """Detach from the terminal of the cluster: programs in containers must not use it."""
    with suppress(OSError), open("/dev/tty", "rb") as terminal:  # noqa: PTH123 - no path of ours
        fcntl.ioctl(terminal, termios.TIOCNOTTY)


def _receive_exactly(control: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = control.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _complete(control: socket.socket, header: bytes) -> bytes:
    if not header:
        raise EOFError
    return header + _receive_exactly(control, HEADER_BYTES - len(header))


def _mount_namespace(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino  # noqa: PTH116 - one call per process, on the way of every exit
    except OSError:
        return None


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _wears(pid: int, badge: bytes) -> bool:
    try:
        return bool(badge) and badge in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _isolate() -> bool:
    """Move future children into their own namespaces; False when the system does not allow it."""
    if not syscalls.AVAILABLE:
        return False
    with suppress(OSError):
        syscalls.unshare(_NAMESPACES)
        return True
    user, group = os.getuid(), os.getgid()
    with suppress(OSError):
        syscalls.unshare(_NAMESPACES | syscalls.CLONE_NEWUSER)
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        return True
    return False


def _prepared_view(staging: Path) -> View | None:
    """The file system with which containers start; None when mounting is refused despite the namespaces."""
    view = View(staging)
    try:
        view.prepare()
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    except OSError as error:
        sys.stderr.write(f"volumes cannot be mounted at the paths of the Pod: {error}\n")
        return None
    return view


def main() -> None:
    """Arguments: the control socket's descriptor, a staging directory, ``isolated`` or ``plain``, and a niceness."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    _leave_terminal()
    staging, wanted, niceness = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    if wanted == "isolated" and _isolate():
        syscalls.die_with_parent(signal.SIGKILL)
        child = os.fork()
        if child:
            control.close()
            _, status = os.waitpid(child, 0)
            sys.exit(max(os.waitstatus_to_exitcode(status), 0))
        syscalls.die_with_parent(signal.SIGKILL)
        view = _prepared_view(staging)
    else:
        view = None
        if syscalls.AVAILABLE:
            syscalls.adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # children share the objects that exist now; without this, each child would copy them
    Zygote(control, view, niceness).run()


if __name__ == "__main__":
    main()
