"""Says what a file is, if it is a signed 64-bit Mach-O program for arm64; fails otherwise.

usage: macho.py FILE      (the format: mach-o/loader.h)
"""

import struct
import sys

MAGIC_64 = 0xFEEDFACF
ARM64 = 0x0100000C
EXECUTE = 2
CODE_SIGNATURE = 0x1D
BUILD_VERSION = 0x32
LOAD_DYLIB = 0xC
SUPERBLOB = 0xFADE0CC0


def read(data):
    magic, cpu, _, kind, commands, _, _, _ = struct.unpack_from("<8I", data)
    if (magic, cpu, kind) != (MAGIC_64, ARM64, EXECUTE):
        sys.exit(f"no arm64 Mach-O program: magic {magic:#x}, cpu {cpu:#x}, kind {kind}")
    at, signed, least, libraries = 32, False, None, []
    for _ in range(commands):
        command, size = struct.unpack_from("<2I", data, at)
        if command == CODE_SIGNATURE:
            offset, _ = struct.unpack_from("<2I", data, at + 8)
            signed = struct.unpack_from(">I", data, offset)[0] == SUPERBLOB
        elif command == BUILD_VERSION:
            version = struct.unpack_from("<I", data, at + 12)[0]
            least = f"{version >> 16}.{version >> 8 & 0xFF}"
        elif command == LOAD_DYLIB:
            name = data[at + struct.unpack_from("<I", data, at + 8)[0] : at + size]
            libraries.append(name.split(b"\0")[0].decode())
        at += size
    if not signed:
        sys.exit("the program is not signed: Apple silicon would kill it")
    strange = [name for name in libraries if not name.startswith("/usr/lib/")]
    if strange:
        sys.exit(f"the program needs what no Mac has: {strange}")
    return f"arm64 Mach-O, signed, macOS {least} or newer, {len(libraries)} system libraries"


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        print(read(file.read()))
