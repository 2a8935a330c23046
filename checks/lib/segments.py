"""Segments of the record log as bytes, as doc/formats.md has them: to write what another release would have written."""
import os
import struct

BLOCK, HEADER = 512, 48
SEGMENT, RECORDS = 1, 2

_TABLE = []
for _i in range(256):
    for _ in range(8):
        _i = _i >> 1 ^ (0x82F63B78 if _i & 1 else 0)
    _TABLE.append(_i)


def crc32c(data):
    crc = 0xFFFFFFFF
    for b in data:
        crc = _TABLE[(crc ^ b) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def seal(p, at, length):
    """Make the checksum of the batch at `at` right."""
    struct.pack_into("<I", p, at + 40, 0)
    struct.pack_into("<I", p, at + 40, crc32c(bytes(p[at:at + length])))


def batches(p):
    """(offset, kind, length) of each batch in its row, as far as they are whole; of other runs, too."""
    at = 0
    while at + HEADER <= len(p):
        magic, _, kind = struct.unpack_from("<4sHH", p, at)
        length, crc = struct.unpack_from("<II", p, at + 36)
        whole = magic == b"SMXL" and HEADER <= length <= len(p) - at
        if whole and crc == crc32c(bytes(p[at:at + 40]) + bytes(4) + bytes(p[at + 44:at + length])):
            yield at, kind, length
            at += (length + BLOCK - 1) // BLOCK * BLOCK
        else:
            return


def paths(directory, name):
    return sorted(os.path.join(directory, n) for n in os.listdir(directory) if n.startswith(name + ".0"))


def rewrite(path, change):
    """Let `change(bytearray)` work on a segment; it stays the same file, with the same owner."""
    with open(path, "r+b") as f:
        p = bytearray(f.read())
        change(p)
        f.seek(0)
        f.write(p)


def say_table(number, table_hash, build):
    """The leading batch names another table of records, and another release."""
    def change(p):
        struct.pack_into("<QII32s", p, 80, table_hash, number, 0, build)
        seal(p, 0, struct.unpack_from("<I", p, 36)[0])
    return change


def format_2(p):
    """As the releases before format 3 wrote it: the same batches, a shorter leading one."""
    for at, kind, length in list(batches(p)):
        struct.pack_into("<H", p, at + 4, 2)
        if kind == SEGMENT:
            p[at + HEADER + 32:at + length] = bytes(length - HEADER - 32)
            length = HEADER + 32
            struct.pack_into("<I", p, at + 36, length)
        seal(p, at, length)
