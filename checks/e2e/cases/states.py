"""Commands out of order and in odd forms."""

# (name, command, what may be answered): without any state before EHLO
BEFORE_EHLO = [
    ("mail", "MAIL FROM:<a@src.test>", (503, 250)),
    ("rcpt", "RCPT TO:<b@local.test>", (503,)),
    ("data", "DATA", (503,)),
    ("vrfy", "VRFY b", (252, 502, 503)),
    ("noop", "NOOP", (250,)),
    ("rset", "RSET", (250,)),
    ("quit", "QUIT", (221,)),
]

# (name, commands, codes allowed for the last one): each from a fresh EHLO
SEQUENCES = [
    ("rcpt-without-mail", ["RCPT TO:<b@local.test>"], (503,)),
    ("data-without-mail", ["DATA"], (503,)),
    ("data-without-rcpt", ["MAIL FROM:<a@src.test>", "DATA"], (503, 554)),
    ("mail-twice", ["MAIL FROM:<a@src.test>", "MAIL FROM:<a@src.test>"], (503,)),
    ("ehlo-clears", ["MAIL FROM:<a@src.test>", "RCPT TO:<b@local.test>", "EHLO c.test", "DATA"], (503,)),
    ("helo-clears", ["MAIL FROM:<a@src.test>", "RCPT TO:<b@local.test>", "HELO c.test", "DATA"], (503,)),
    ("rset-clears", ["MAIL FROM:<a@src.test>", "RCPT TO:<b@local.test>", "RSET", "DATA"], (503,)),
    ("rset-clears-mail", ["MAIL FROM:<a@src.test>", "RSET", "RCPT TO:<b@local.test>"], (503,)),
    ("vrfy-keeps", ["MAIL FROM:<a@src.test>", "RCPT TO:<b@local.test>", b"VRFY \xc3\xa9@x\r\n", "DATA"], (354,)),
    ("noop-keeps", ["MAIL FROM:<a@src.test>", "RCPT TO:<b@local.test>", "NOOP", "DATA"], (354,)),
    ("help-keeps", ["MAIL FROM:<a@src.test>", "HELP", "RCPT TO:<b@local.test>"], (250,)),
    ("unknown-keeps", ["MAIL FROM:<a@src.test>", "XYZZY", "RCPT TO:<b@local.test>"], (250,)),
    ("bad-rcpt-keeps", ["MAIL FROM:<a@src.test>", "RCPT TO:<b@nowhere.invalid>", "RCPT TO:<b@local.test>", "DATA"], (354,)),
    ("only-bad-rcpt", ["MAIL FROM:<a@src.test>", "RCPT TO:<b@nowhere.invalid>", "DATA"], (503, 554)),
    ("bad-mail-is-none", ["MAIL FROM:a b", "RCPT TO:<b@local.test>"], (503,)),
    ("bad-mail-after-good", ["MAIL FROM:<a@src.test>", "MAIL FROM:<bad", "RCPT TO:<b@local.test>"], (250, 503)),
    ("expn", ["EXPN list"], (502, 550, 500)),
    ("turn", ["TURN"], (502, 500)),
    ("send", ["SEND FROM:<a@src.test>"], (502, 500)),
    ("saml", ["SAML FROM:<a@src.test>"], (502, 500)),
    ("empty-line", [b"\r\n"], (500,)),
    ("space-line", [b"   \r\n"], (500,)),
    ("dot-line", [b".\r\n"], (500, 502)),
    ("xclient", ["XCLIENT ADDR=1.2.3.4"], (500, 502, 550, 503)),
    ("xforward", ["XFORWARD ADDR=1.2.3.4"], (500, 502, 550, 503)),
    ("proxy", ["PROXY TCP4 1.2.3.4 1.2.3.4 1 2"], (500, 502, 421)),
]

# (name, commands, codes allowed for the last): documented, stable choices
FORMS = [
    ("lower-case", ["mail from:<a@src.test>", "rcpt to:<b@local.test>", "data"], (354,)),
    ("mixed-case", ["MaIl FrOm:<a@src.test>", "rCpT tO:<b@local.test>", "dAtA"], (354,)),
    ("trailing-space", ["MAIL FROM:<a@src.test> ", "RCPT TO:<b@local.test>  "], (250,)),
    ("space-before-path", ["MAIL FROM: <a@src.test>"], (250, 501)),
    ("two-spaces", ["MAIL  FROM:<a@src.test>"], (250, 501)),
    ("space-before-colon", ["MAIL FROM :<a@src.test>"], (501,)),
    ("tab", ["MAIL\tFROM:<a@src.test>"], (250, 500, 501)),
    ("no-brackets", ["MAIL FROM:a@src.test"], (250, 501, 553)),
    ("text-behind-path", ["MAIL FROM:<a@src.test>junk"], (501, 555)),
    ("data-argument", ["MAIL FROM:<a@src.test>", "RCPT TO:<b@local.test>", "DATA x"], (501, 354)),
    ("rset-argument", ["RSET x"], (501, 250)),
    ("quit-argument", ["QUIT x"], (501, 221)),
    ("noop-argument", ["NOOP x y"], (250,)),
    ("ehlo-none", ["EHLO"], (501,)),
    ("helo-none", ["HELO"], (501,)),
]

# (name, bytes): talk of another protocol. A refusal or a close at once, never a mail.
OTHER_PROTOCOLS = [
    ("http-post", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nEHLO x.test\r\nMAIL FROM:<evil@e.test>\r\n"
                  b"RCPT TO:<victim@local.test>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n"),
    ("http-get", b"GET / HTTP/1.0\r\n\r\nMAIL FROM:<evil@e.test>\r\n"),
    ("tls-client-hello", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(150)),
    ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("imap", b"a1 LOGIN user pass\r\n"),
    ("socks5", b"\x05\x01\x00"),
    ("binary", bytes(range(256)) * 4),
]
