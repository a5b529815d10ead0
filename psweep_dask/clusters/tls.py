"""Temporary TLS files, so that nobody else can connect to a cluster on several machines."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distributed import Security

from psweep_dask.storage.layout import PRIVATE_PREFIX


@dataclass(frozen=True)
class Credentials:
    """The certificate and the key of one cluster.

    Parameters
    ----------
    folder : Path
        Only its owner can look into it. It is removed together with the cluster.
    security : Security
        For the scheduler and the client.
    """

    folder: Path
    security: Security

    def worker_settings(self) -> dict[str, object]:
        """Return the dask settings by which a worker on another machine finds its files."""
        certificate, key = str(self.folder / "cert.pem"), str(self.folder / "key.pem")
        return {
            "distributed.comm.require-encryption": True,
            "distributed.comm.tls.ca-file": certificate,
            "distributed.comm.tls.worker.cert": certificate,
            "distributed.comm.tls.worker.key": key,
        }


@contextmanager
def temporary_credentials(shared_dir: Path) -> Iterator[Credentials]:
    """Write credentials into a folder of their own, and remove it at the end.

    Parameters
    ----------
    shared_dir : Path
        A folder that all machines of the cluster see.

    Yields
    ------
    Credentials
    """
    temporary = Security.temporary()
    folder = Path(tempfile.mkdtemp(prefix=PRIVATE_PREFIX, dir=shared_dir))  # mode 0700
    try:
        certificate = _write(folder / "cert.pem", temporary.tls_worker_cert)
        key = _write(folder / "key.pem", temporary.tls_worker_key)
        security = Security(
            require_encryption=True,
            tls_ca_file=certificate,
            tls_client_cert=certificate,
            tls_client_key=key,
            tls_scheduler_cert=certificate,
            tls_scheduler_key=key,
            tls_worker_cert=certificate,
            tls_worker_key=key,
        )
        yield Credentials(folder, security)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, text: str) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    return str(path)
