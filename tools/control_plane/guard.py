"""Becomes the given program, after it has asked the kernel to kill it together with its parent.

Run as a script, without imports of ours.

Arguments: the parent's process id, the program, its arguments.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program, *arguments = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(parent):  # the parent ended before the request to the kernel
        sys.exit(1)
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main()
