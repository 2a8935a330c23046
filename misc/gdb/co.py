"""gdb commands for the coroutines of an smx process, running or as a core file.

    (gdb) source misc/gdb/co.py
    (gdb) co list          one line for each coroutine
    (gdb) co bt N          backtrace of coroutine N
    (gdb) co bt all        of each

While `co bt` runs, an unwinder says that the caller of the innermost frame is the place where the coroutine left its
stack; no register of the process is written, so that this works on core files too.
"""

import gdb
import gdb.unwinder

# How co_x86_64.S and co_aarch64.S lay out a sleeping stack: register and offset from the saved pointer; total size.
LAYOUT = {
    "i386:x86-64": (
        [("r15", 0), ("r14", 8), ("r13", 16), ("r12", 24), ("rbx", 32), ("rbp", 40), ("rip", 48)], 56, "rsp", "rip"),
    "aarch64": (
        [("x%d" % (19 + i), 8 * i) for i in range(10)] + [("x29", 80), ("x30", 88), ("pc", 88)], 160, "sp", "pc"),
}


def coroutines():
    """The struct sm_co of each, in the order of their start."""
    head = gdb.lookup_global_symbol("sm_co_all")
    if head is None:
        raise gdb.GdbError("no coroutines here (is this an smx program with debug information?)")
    head = head.value()
    co_type = gdb.lookup_type("struct sm_co")
    offset = [f.bitpos // 8 for f in co_type.fields() if f.name == "all"][0]
    link = head["next"]
    while int(link) != int(head.address):
        yield (link.cast(gdb.lookup_type("char").pointer()) - offset).cast(co_type.pointer()).dereference()
        link = link.dereference()["next"]


def text(array):
    """A char array up to its NUL, printable."""
    return "".join(c if c.isprintable() else "?" for c in array.string(errors="replace"))


def describe(co):
    state = str(co["state"]).replace("CO_", "").lower()
    waits = co["waits"].string() if int(co["waits"]) and state == "parked" else state
    return "%-5d %-*s [%s] %s%s" % (
        int(co["number"]), 14, text(co["name"]), text(co["doing"]), waits, ", cancelled" if co["cancelled"] else "")


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class SleepingStack(gdb.unwinder.Unwinder):
    """Puts a sleeping stack above the innermost frame while `sp` is set."""

    def __init__(self):
        super().__init__("smx coroutines")
        self.sp = None

    def __call__(self, pending):
        if self.sp is None or pending.level() != 0:
            return None
        layout = LAYOUT.get(pending.architecture().name())
        if layout is None:
            return None
        registers, size, sp_name, pc_name = layout
        word = gdb.lookup_type("unsigned long")
        # Said to lie just below the sleeping stack: gdb takes callers at lower addresses for corruption.
        below = gdb.Value(self.sp - 16).cast(word)
        unwind = pending.create_unwind_info(FrameId(below, pending.read_register(pc_name)))
        for name, offset in registers:
            value = gdb.Value(self.sp + offset).cast(word.pointer()).dereference()
            unwind.add_saved_register(name, value)
        unwind.add_saved_register(sp_name, gdb.Value(self.sp + size).cast(word))
        return unwind


sleeping = SleepingStack()
gdb.unwinder.register_unwinder(None, sleeping, replace=True)


def backtrace(co):
    print(describe(co))
    if str(co["state"]) == "CO_RUNNING":
        gdb.execute("bt")
        return
    fields = [f.name for f in co["ctx"].type.fields()]
    if "sp" not in fields:
        raise gdb.GdbError("switched by ucontext: no backtraces of sleeping coroutines")
    sleeping.sp = int(co["ctx"]["sp"])
    try:
        gdb.invalidate_cached_frames()
        lines = gdb.execute("bt", to_string=True).splitlines()
        # The first frame is where the thread really is.
        print("\n".join(line for line in lines if not line.startswith("#0 ")))
    finally:
        sleeping.sp = None
        gdb.invalidate_cached_frames()


class Co(gdb.Command):
    """Coroutines of smx: `co list`, `co bt N`, `co bt all`."""

    def __init__(self):
        super().__init__("co", gdb.COMMAND_STACK, prefix=True)


class CoList(gdb.Command):
    """One line for each coroutine: number, name, what it is about, what it waits for."""

    def __init__(self):
        super().__init__("co list", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for co in coroutines():
            print(describe(co))


class CoBt(gdb.Command):
    """Backtrace of the coroutine with this number, or of all."""

    def __init__(self):
        super().__init__("co bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        wanted = argument.strip()
        found = False
        for co in coroutines():
            if wanted == "all" or wanted == str(int(co["number"])):
                found = True
                backtrace(co)
        if not found:
            raise gdb.GdbError("no coroutine %s; see co list" % wanted)


Co()
CoList()
CoBt()
