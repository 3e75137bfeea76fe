"""Certificates for a test: an authority, a server, a client of it, and a stranger."""

from __future__ import annotations

import os
import subprocess


def make_certificates(directory: str) -> None:
    """`ca.pem`, `server-{cert,key}.pem`, `{cert,key}.pem` as clients find them, `stranger/…`."""
    _authority(directory)
    _signed(directory, "server", "subjectAltName=IP:127.0.0.1,DNS:localhost", "server-")
    _signed(directory, "client", "extendedKeyUsage=clientAuth", "")
    stranger = os.path.join(directory, "stranger")
    os.makedirs(stranger)
    _authority(stranger)
    _signed(stranger, "stranger", "extendedKeyUsage=clientAuth", "")
    os.replace(os.path.join(directory, "ca.pem"), os.path.join(directory, "authority.pem"))
    for folder in (directory, stranger):
        with open(os.path.join(directory, "authority.pem"), "rb") as source:
            data = source.read()
        with open(os.path.join(folder, "ca.pem"), "wb") as file:
            file.write(data)


def _openssl(directory: str, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _authority(directory: str) -> None:
    words = ("req", "-x509", *_KEY, "-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "3650")
    _openssl(directory, *words, "-subj", "/CN=test authority")


def _signed(directory: str, name: str, extension: str, prefix: str) -> None:
    request, extensions = f"{name}.csr", f"{name}.ext"
    with open(os.path.join(directory, extensions), "w", encoding="ascii") as file:
        file.write(extension + "\n")
    subject = ("-subj", f"/CN={name}", "-out", request)
    _openssl(directory, "req", *_KEY, "-keyout", f"{prefix}key.pem", *subject)
    authority = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "3650")
    paths = ("-in", request, "-out", f"{prefix}cert.pem", "-extfile", extensions)
    _openssl(directory, "x509", "-req", *authority, *paths)
