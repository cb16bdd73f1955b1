"""Certificates for tests of TLS: an authority and what it issues, made by the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Authority:
    """One certificate authority; its files stand in a directory of the test."""

    def __init__(self, directory: Path, name: str = "test authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._issued = 0
        _openssl(
            directory,
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={name}", "-days", "30", "-keyout", "ca.key", "-out", "ca.pem"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        self.ca = (directory / "ca.pem").read_text()
        """PEM text."""

    def issue(self, name: str, *, expired: bool = False) -> tuple[str, str]:
        """PEM texts of certificate and key; *name* is a host, an address or a client's name.

        Each is good for servers and clients; *expired* ended yesterday.
        """
        self._issued += 1
        stem = f"issued{self._issued}"
        kind = "IP" if name.replace(".", "").isdigit() or ":" in name else "DNS"
        extensions = self._directory / f"{stem}.ext"
        extensions.write_text(
            f"subjectAltName={kind}:{name}\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl(
            self._directory,
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", f"{stem}.key", "-out", f"{stem}.csr"),
        )
        _openssl(
            self._directory,
            *("x509", "-req", "-in", f"{stem}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-set_serial", str(self._issued), "-days", "-1" if expired else "30"),
            *("-extfile", extensions.name, "-out", f"{stem}.pem"),
        )
        return (self._directory / f"{stem}.pem").read_text(), (self._directory / f"{stem}.key").read_text()


def authority(directory: Path) -> Authority:
    """A new authority whose files stand in *directory*."""
    return Authority(directory)


def _openssl(directory: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
