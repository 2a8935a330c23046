"""Line ends and the end of data. Only CRLF.CRLF ends it; each of these must not."""

# (name, bytes that some server somewhere takes for the end of data)
NOT_THE_END = [
    ("lf-dot-lf", b"a\n.\n"),
    ("lf-dot-crlf", b"a\n.\r\n"),
    ("crlf-dot-lf", b"a\r\n.\n"),
    ("cr-dot-cr", b"a\r.\r"),
    ("cr-dot-crlf", b"a\r.\r\n"),
    ("cr-dot-lf", b"a\r.\n"),
    ("crlf-dot-cr", b"a\r\n.\r"),
    ("crlf-dot-cr-cr-lf", b"a\r\n.\r\r\n"),
    ("lf-cr-dot-lf-cr", b"a\n\r.\n\r"),
    ("lf-lf-dot-lf-lf", b"a\n\n.\n\n"),
    ("crlf-dot-nul-crlf", b"a\r\n.\0\r\n"),
    ("crlf-nul-dot-crlf", b"a\r\n\0.\r\n"),
    ("cr-nul-lf-dot-crlf", b"a\r\0\n.\r\n"),
    ("crlf-dot-space-crlf", b"a\r\n. \r\n"),
    ("crlf-dot-tab-crlf", b"a\r\n.\t\r\n"),
    ("crlf-dot-vt-crlf", b"a\r\n.\x0b\r\n"),
    ("crlf-dot-ff-crlf", b"a\r\n.\x0c\r\n"),
    ("crlf-dot-nel-crlf", b"a\r\n.\x85\r\n"),
    ("crlf-dot-utf8-ls", b"a\r\n.\xe2\x80\xa8"),
    ("crlf-dot-dot-crlf", b"a\r\n..\r\n"),
    ("dot-without-crlf-before", b"a.\r\n"),
]

# What a smuggler puts behind it: a mail of its own, but for the final dot.
REST = (b"MAIL FROM:<evil@e.test>\r\nRCPT TO:<victim@local.test>\r\nDATA\r\n"
        b"Subject: smuggled\r\n\r\nX\r\n")

# (name, body bytes): bytes that must come through as they are, or be refused with 5xx 5.6.0; nothing in between
INTACT = [
    ("nul-in-body", b"ab\0cd\r\n"),
    ("8-bit", bytes(range(128, 256)) + b"\r\n"),
    ("controls", bytes(b for b in range(1, 32) if b not in (10, 13)) + b"\x7f\r\n"),
    ("bare-cr", b"a\rb\r\n"),
    ("bare-lf", b"a\nb\r\n"),
    ("cr-cr-lf", b"a\r\r\nb\r\n"),
    ("empty-lines", b"\r\n\r\n\r\n"),
    ("trailing-spaces", b"a   \t \r\n \r\n\t\r\n"),
    ("from-line", b"From attacker Mon Jan  1 00:00:00 2026\r\n>From b\r\n"),
]

# (name, body): dots that are content. What the sink decodes must be what we sent.
DOTS = [
    ("two", b"..\r\n"),
    ("one-and-text", b".a\r\n"),
    ("three", b"...\r\n"),
    ("many-lines", b".x\r\n..y\r\n...z\r\n" * 50),
    ("only-dots", b"".join(b"." * n + b"\r\n" for n in range(2, 80))),
    ("dot-cr-vt", b".\x0b\r\n"),
    ("dot-at-end", b"x\r\n.end\r\n"),
    ("dot-space", b". \r\n"),
]

# (name, bytes): command lines with wrong ends. Never two commands; never a command cut at a NUL.
COMMAND_LINES = [
    ("lf", b"NOOP\nNOOP\r\n"),
    ("cr", b"NOOP\rNOOP\r\n"),
    ("cr-cr-lf", b"NOOP\r\r\n"),
    ("lf-cr", b"NOOP\n\rNOOP\r\n"),
    ("nul", b"NOOP\0\r\n"),
    ("nul-inside", b"NO\0OP\r\n"),
    ("nul-before", b"\0NOOP\r\n"),
    ("nul-and-more", b"RSET\0MAIL FROM:<a@e.test>\r\n"),
    ("mail-cr", b"MAIL FROM:<a@e.test>\rRCPT TO:<b@local.test>\r\n"),
    ("mail-lf", b"MAIL FROM:<a@e.test>\nRCPT TO:<b@local.test>\r\n"),
    ("ehlo-cr-cr", b"EHLO x.test\r\r\n"),
    ("vt", b"NOOP\x0bNOOP\r\n"),
    ("del", b"NOOP\x7f\r\n"),
    ("8-bit-verb", b"NO\xc3\xb6P\r\n"),
]
