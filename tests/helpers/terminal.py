"""Commands as they are installed, started by a script or by a person in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

BIN_DIR = Path(sys.executable).parent


def run_command(*words, code=0, answers=""):
    """What a command prints, on stdout and then on stderr; its exit status must be `code`."""
    command = [BIN_DIR / words[0], *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=answers)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def psweep_dask(*words, **options):
    """What a command of `psweep-dask` prints."""
    return run_command("psweep-dask", *words, **options)


def shown_in_terminal(command, columns, stream):
    """What a command shows on ``stdout`` or ``stderr``, which is a terminal with these columns."""
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(command, env=environment, **{stream: terminal}) as process:
        os.close(terminal)
        text = b""
        while True:
            try:
                text += os.read(screen, 10_000)
            except OSError:  # Linux says in this way that the terminal is closed
                break
    os.close(screen)
    assert process.returncode == 0
    return text.decode()
