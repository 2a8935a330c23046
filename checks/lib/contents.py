"""Contents that a hop may spoil, by name: a delivery that changes one byte of them is wrong. Lines end in CRLF."""

HEADER = b"From: <a@src.test>\r\nTo: <b@local.test>\r\nSubject: contents\r\n"
TEXT = b"The quick brown fox jumps over the lazy dog 0123456789\r\n"

CONTENTS = {
    "small": HEADER + b"\r\nhello\r\n",
    "header_only": HEADER + b"\r\n",
    "no_header": b"\r\nbody at once\r\n",
    "dots": HEADER + b"\r\n.\r\n..\r\n.dot\r\n...\r\n \r\n.\r\nend.\r\n",
    "blank_ends": HEADER + b"\r\n\r\n\r\nspaces  \t \r\n\r\n\r\n",
    "from_line": HEADER + b"\r\n>From here\r\nFrom there\r\n",
    "long_lines": HEADER + b"\r\n" + b"x" * 998 + b"\r\n" + b"." + b"y" * 997 + b"\r\n",
    "folded": HEADER + b"X-Long: one\r\n two\r\n\tthree\r\n\r\ntext\r\n",
    "utf8": HEADER + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nÄpfel, žluťoučký, 漢字\r\n".encode(),
    "octets": HEADER + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
    bytes(b for b in range(1, 256) if b not in (10, 13)) + b"\r\n",
    "5mb": HEADER + b"\r\n" + (TEXT * 90 + b".\r\n") * (5 * 1024 * 1024 // (len(TEXT) * 90 + 3)) + b"the end\r\n",
}
