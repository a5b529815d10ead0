"""Commands in a terminal, as a person starts them."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios


def shown_in_terminal(command, columns, stream):
    """What a command shows on ``stdout`` or ``stderr``, which is a terminal of so many columns."""
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(command, env=environment, **{stream: terminal}) as process:
        os.close(terminal)
        text = b""
        while True:
            try:
                text += os.read(screen, 10_000)
            except OSError:  # that is how Linux says that the terminal is closed
                break
    os.close(screen)
    assert process.returncode == 0
    return text.decode()
