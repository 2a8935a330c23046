"""Servers that misbehave. Each row: name, scripts (one a connection), what must become of the mail.

RETRY: nothing is given up: once the server behaves, the mail arrives, and no report is sent. `least` and `most` tell how often the
server may say it took the mail: a script that ends in a complete 250 behind the dot has taken it.
BOUNCE: a report goes to the sender, and the server is left alone.
EITHER: both are defensible; what counts is that nothing breaks and the mail does not vanish.
"""
from lib.sink import Close, Content, Drip, Expect, Flood, Hang, Rst, Send, Serve, Sleep

RETRY, BOUNCE, EITHER = "retry", "bounce", "either"

G = Send(b"220 h ESMTP\r\n")
EHLO = [G, Expect(rb"EHLO"), Send(b"250-h\r\n250 8BITMIME\r\n")]
MAIL = [*EHLO, Expect(rb"MAIL"), Send(b"250 ok\r\n")]
RCPT = [*MAIL, Expect(rb"RCPT"), Send(b"250 ok\r\n")]
DATA = [*RCPT, Expect(rb"DATA"), Send(b"354 go\r\n")]
DOT = [*DATA, Content()]

STAGES = [("greeting", []), ("ehlo", [G, Expect(rb"EHLO")]), ("mail", [*EHLO, Expect(rb"MAIL")]), ("rcpt", [*MAIL, Expect(rb"RCPT")]),
          ("data", [*RCPT, Expect(rb"DATA")]), ("dot", DOT)]

# Bytes that are no reply, given at each stage.
GARBAGE = [
    ("nothing-then-close", [Close()]),
    ("reset", [Rst()]),
    ("421", [Send(b"421 4.3.2 going away\r\n"), Close()]),
    ("421-and-hang", [Send(b"421 4.3.2 going away\r\n"), Hang()]),
    ("no-code", [Send(b"hello there\r\n"), Hang()]),
    ("two-digits", [Send(b"25\r\n"), Hang()]),
    ("four-digits", [Send(b"2500 x\r\n"), Hang()]),
    ("999", [Send(b"999 x\r\n"), Hang()]),
    ("000", [Send(b"000 x\r\n"), Hang()]),
    ("199", [Send(b"199 x\r\n"), Hang()]),
    ("empty-line", [Send(b"\r\n"), Hang()]),
    ("binary", [Send(bytes(range(256)) * 16 + b"\r\n"), Hang()]),
    ("half-line-then-close", [Send(b"25"), Close()]),
    ("half-line-then-silence", [Send(b"25"), Hang()]),
    ("codes-differ", [Send(b"250-a\r\n550 b\r\n"), Hang()]),
    ("continued-for-ever", [Flood(b"250-still more\r\n")]),
    ("line-of-1MB", [Send(b"250 " + b"x" * (1 << 20) + b"\r\n"), Hang()]),
    ("line-without-end", [Flood(b"250 " + b"x" * 8192)]),
    ("nuls", [Flood(b"\0" * 8192, 200), Hang()]),
    ("line-ends-only", [Flood(b"\r\n" * 4096, 200), Hang()]),
]

# name, scripts, fate, least, most deliveries at the server altogether
CASES = [
    ("no-text", [[Send(b"220\r\n"), Expect(rb"EHLO"), Send(b"250\r\n"), Expect(rb"MAIL"), Send(b"250\r\n"), Expect(rb"RCPT"), Send(b"250\r\n"),
                  Expect(rb"DATA"), Send(b"354\r\n"), Content(), Send(b"250\r\n"), Expect(rb"QUIT"), Send(b"221\r\n")]], "scripted", 0, 0),
    ("lf-only", [[Send(b"220 h\n"), Expect(rb"EHLO"), Send(b"250 h\n"), Serve(greet=False)]], EITHER, 0, 2),
    ("greeting-554", [[Send(b"554 5.7.1 go away\r\n"), Hang()]], EITHER, 0, 1),
    ("greeting-250", [[Send(b"250 hi\r\n"), Hang()]], RETRY, 1, 1),
    ("greeting-multiline", [[Serve({"GREETING": b"220-a\r\n220-b\r\n220 c\r\n"})]], "taken", 1, 1),
    ("ehlo-500-then-helo", [[Serve({"EHLO": b"500 5.5.1 what?\r\n"})]], "taken", 1, 1),
    ("ehlo-many-lines", [[Serve({"EHLO": b"".join(b"250-X%d\r\n" % i for i in range(60)) + b"250 SIZE\r\n"})]], "taken", 1, 1),
    ("ehlo-10000-lines", [[Serve({"EHLO": b"".join(b"250-X%d\r\n" % i for i in range(10000)) + b"250 SIZE\r\n"})]], EITHER, 0, 2),
    ("354-to-mail", [[*EHLO, Expect(rb"MAIL"), Send(b"354 go\r\n"), Hang()]], RETRY, 1, 1),
    ("354-to-rcpt", [[*MAIL, Expect(rb"RCPT"), Send(b"354 go\r\n"), Hang()]], RETRY, 1, 1),
    ("250-to-data", [[*RCPT, Expect(rb"DATA"), Send(b"250 ok\r\n"), Hang()]], RETRY, 1, 1),
    ("221-to-mail", [[*EHLO, Expect(rb"MAIL"), Send(b"221 bye\r\n"), Close()]], RETRY, 1, 1),
    ("replies-ahead", [[*EHLO[:2], Send(b"250 h\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"), Hang()]], RETRY, 1, 1),
    ("pipelined-replies-ahead", [[G, Expect(rb"EHLO"), Send(b"250-h\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"), Hang()]],
     RETRY, 1, 1),
    ("mail-451", [[Serve({"MAIL": b"451 4.3.0 later\r\n"})], [Serve()]], RETRY, 1, 1),
    ("rcpt-450", [[Serve({"RCPT": b"450 4.2.0 later\r\n"})], [Serve()]], RETRY, 1, 1),
    ("data-451", [[Serve({"DATA": b"451 4.3.0 later\r\n"})], [Serve()]], RETRY, 1, 1),
    ("dot-451", [[Serve({".": b"451 4.3.0 later\r\n"})], [Serve()]], RETRY, 1, 1),
    ("dot-452-multiline", [[Serve({".": b"452-4.3.1 full\r\n452 4.3.1 later\r\n"})], [Serve()]], RETRY, 1, 1),
    ("mail-550", [[Serve({"MAIL": b"550 5.7.1 not you\r\n"})]], BOUNCE, 0, 0),
    ("rcpt-550", [[Serve({"RCPT": b"550 5.1.1 nobody\r\n"})]], BOUNCE, 0, 0),
    ("rcpt-551", [[Serve({"RCPT": b"551 5.1.6 try <other@e.test>\r\n"})]], BOUNCE, 0, 0),
    ("rcpt-251", [[Serve({"RCPT": b"251 will forward to <other@e.test>\r\n"})]], "taken", 1, 1),
    ("data-554", [[Serve({"DATA": b"554 5.5.1 no\r\n"})]], BOUNCE, 0, 0),
    ("dot-554", [[Serve({".": b"554 5.6.0 bad\r\n"})]], BOUNCE, 0, 0),
    ("dot-554-long", [[Serve({".": b"".join(b"554-5.6.0 line %d %s\r\n" % (i, b"t" * 400) for i in range(50)) + b"554 5.6.0 end\r\n"})]],
     EITHER, 0, 1),
    ("dot-554-controls", [[Serve({".": b"554 5.6.0 \x1b[2J\x07\0 <b>\xff\xfe %s%n\r\n"})]], EITHER, 0, 1),
    ("dot-drop", [[*DOT, Close()]], RETRY, 1, 1),
    ("dot-half-reply", [[*DOT, Send(b"250 2.0."), Close()]], RETRY, 1, 1),
    ("dot-half-reply-reset", [[*DOT, Send(b"25"), Rst()]], RETRY, 1, 1),
    ("dot-silence", [[*DOT, Hang()]], RETRY, 1, 1),
    ("dot-250-then-reset", [[*DOT, Send(b"250 2.0.0 taken\r\n"), Sleep(0.2), Rst()]], "scripted", 0, 0),
    ("dot-250-then-close", [[*DOT, Send(b"250 2.0.0 taken\r\n"), Close()]], "scripted", 0, 0),
    ("dot-250-slowly", [[*DOT, Drip(b"250 2.0.0 taken\r\n", 0.05), Hang()]], "scripted", 0, 0),
    ("rset-quit-refused", [[Serve({"RSET": b"500 what\r\n", "QUIT": b"500 no\r\n", "NOOP": b"500 no\r\n"})]], "taken", 1, 1),
    ("drip-greeting", [[Drip(b"220 " + b"x" * 400 + b"\r\n", 1.5), Hang()]], RETRY, 1, 1),
    ("drip-for-ever", [[*EHLO, Expect(rb"MAIL"), Drip(b"250-" + b"x" * 1000, 1.0), Hang()]], RETRY, 1, 1),
]
