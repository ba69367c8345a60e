#!/usr/bin/env python3
"""Packs the Python package and libkiln into a wheel (PEP 427), with the standard library alone.

usage: build_wheel.py LIBKILN VERSION PLATFORM OUTPUT_FOLDER      PLATFORM: linux_x86_64, linux_aarch64, …
"""
import base64
import hashlib
import pathlib
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent


def record(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def main():
    library, version, platform, output = sys.argv[1:]
    tag = f"py3-none-{platform}"
    info = f"kiln-{version}.dist-info"
    files = {f"kiln/{path.name}": path.read_bytes() for path in sorted((HERE / "kiln").glob("*.py"))}
    files["kiln/libkiln.so"] = pathlib.Path(library).read_bytes()
    files[f"{info}/METADATA"] = (f"Metadata-Version: 2.1\nName: kiln\nVersion: {version}\n"
                                 "Summary: Runs language models compiled by Kiln\nRequires-Python: >=3.8\n").encode()
    files[f"{info}/WHEEL"] = (f"Wheel-Version: 1.0\nGenerator: kiln\nRoot-Is-Purelib: false\n"
                              f"Tag: {tag}\n").encode()
    listing = "".join(record(name, data) for name, data in files.items()) + f"{info}/RECORD,,\n"
    files[f"{info}/RECORD"] = listing.encode()
    wheel = pathlib.Path(output, f"kiln-{version}-{tag}.whl")
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():  # dates as zip begins them: the same input, the same bytes
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    print(wheel)


main()
