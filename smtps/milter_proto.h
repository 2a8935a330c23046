/*
 * The milter protocol of libmilter, versions 2 to 6, as bytes: packets to write, packets that came.
 * No conversation and no state; milter.h talks.
 *
 *   packet = length code data     length: 4 bytes, big-endian, of code and data; code: 1 byte
 */
#ifndef SS_MILTER_PROTO_H
#define SS_MILTER_PROTO_H

#include "libsm/buf.h"
#include "libsm/net.h"

enum {
	SS_MP_VERSION_MIN = 2,
	SS_MP_VERSION = 6,
	SS_MP_CHUNK = 65535,            /* of data in a packet: libmilter takes no more */
	SS_MP_PACKET_MAX = 1024 * 1024, /* of what a filter may send */
	SS_MP_HEAD = 5,                 /* length and code */
};

/* To the filter. */
enum ss_mp_cmd {
	SS_MP_ABORT = 'A',
	SS_MP_BODY = 'B',
	SS_MP_CONNECT = 'C',
	SS_MP_MACRO = 'D',
	SS_MP_EOM = 'E',
	SS_MP_HELO = 'H',
	SS_MP_QUIT_NC = 'K', /* another client comes on the same connection; not used: milters.c */
	SS_MP_HEADER = 'L',
	SS_MP_MAIL = 'M',
	SS_MP_EOH = 'N',
	SS_MP_OPTNEG = 'O',
	SS_MP_QUIT = 'Q',
	SS_MP_RCPT = 'R',
	SS_MP_DATA = 'T',
	SS_MP_UNKNOWN = 'U',
};

/* From the filter; its answer to the negotiation is SS_MP_OPTNEG. */
enum ss_mp_reply_code {
	SS_MR_ADDRCPT = '+',
	SS_MR_DELRCPT = '-',
	SS_MR_ADDRCPT_PAR = '2',
	SS_MR_SHUTDOWN = '4',
	SS_MR_ACCEPT = 'a',
	SS_MR_REPLBODY = 'b',
	SS_MR_CONTINUE = 'c',
	SS_MR_DISCARD = 'd',
	SS_MR_CHGFROM = 'e',
	SS_MR_CONN_FAIL = 'f',
	SS_MR_ADDHEADER = 'h',
	SS_MR_INSHEADER = 'i',
	SS_MR_CHGHEADER = 'm',
	SS_MR_PROGRESS = 'p',
	SS_MR_QUARANTINE = 'q',
	SS_MR_REJECT = 'r',
	SS_MR_SKIP = 's',
	SS_MR_TEMPFAIL = 't',
	SS_MR_REPLYCODE = 'y',
};

/* What a filter may do. */
enum {
	SS_MF_ADDHDRS = 0x1,
	SS_MF_CHGBODY = 0x2,
	SS_MF_ADDRCPT = 0x4,
	SS_MF_DELRCPT = 0x8,
	SS_MF_CHGHDRS = 0x10,
	SS_MF_QUARANTINE = 0x20,
	SS_MF_CHGFROM = 0x40,
	SS_MF_ADDRCPT_PAR = 0x80,
	SS_MF_SETSYMLIST = 0x100,
	SS_MF_CONTENT = SS_MF_ADDHDRS | SS_MF_CHGBODY | SS_MF_CHGHDRS, /* what changes content */
};

/* What it need not be told (NO), what it does not answer (NR), and other details. */
enum {
	SS_MS_NOCONNECT = 0x1,
	SS_MS_NOHELO = 0x2,
	SS_MS_NOMAIL = 0x4,
	SS_MS_NORCPT = 0x8,
	SS_MS_NOBODY = 0x10,
	SS_MS_NOHDRS = 0x20,
	SS_MS_NOEOH = 0x40,
	SS_MS_NR_HDR = 0x80,
	SS_MS_NOUNKNOWN = 0x100,
	SS_MS_NODATA = 0x200,
	SS_MS_SKIP = 0x400,
	SS_MS_RCPT_REJ = 0x800, /* it wants to know of refused recipients as well */
	SS_MS_NR_CONN = 0x1000,
	SS_MS_NR_HELO = 0x2000,
	SS_MS_NR_MAIL = 0x4000,
	SS_MS_NR_RCPT = 0x8000,
	SS_MS_NR_DATA = 0x10000,
	SS_MS_NR_UNKN = 0x20000,
	SS_MS_NR_EOH = 0x40000,
	SS_MS_NR_BODY = 0x80000,
	SS_MS_LEADSPC = 0x100000, /* header values with the space behind the colon, both ways */
};
/* What of these a version has. */
uint32_t ss_mp_actions(uint32_t version);
uint32_t ss_mp_steps(uint32_t version);

/* Lists of macros are asked for by these numbers. */
enum ss_mp_stage {
	SS_MG_CONNECT,
	SS_MG_HELO,
	SS_MG_MAIL,
	SS_MG_RCPT,
	SS_MG_DATA,
	SS_MG_EOM,
	SS_MG_EOH,
	SS_MG_COUNT_,
};

/* ---- writing ---- */

/* A packet is begun, filled by sm_buf_*, and ended; `at` is what begin gave. */
size_t ss_mp_begin(struct sm_buf *b, char code);
void ss_mp_end(struct sm_buf *b, size_t at);
/* Text and a NUL; a NUL within would end it: such text is cut there. */
void ss_mp_text(struct sm_buf *b, struct sm_str s);
void ss_mp_u32(struct sm_buf *b, uint32_t v);
void ss_mp_optneg(struct sm_buf *b, uint32_t version, uint32_t actions, uint32_t steps);
/* `name` of the client; the address: IPv4, IPv6, Unix, or none. */
void ss_mp_connect(struct sm_buf *b, struct sm_str name, const struct sm_sa *client);

/* ---- reading ---- */

struct ss_mp_packet {
	char code;
	struct sm_str data;
};
/*
 * The first packet in `in`: 1 and *used bytes belong to it, 0: more has to come, SM_E_PROTO: a
 * length of 0, SM_E_TOOBIG.
 */
int ss_mp_packet(struct sm_str in, struct ss_mp_packet *p, size_t *used) SM_MUST_CHECK;

struct ss_mp_reply {
	char code;
	uint32_t version, actions, steps; /* OPTNEG */
	uint32_t index;                   /* CHGHEADER, INSHEADER */
	struct sm_str name, value; /* of a header; name: an address, the quarantine's reason */
	struct sm_str args;        /* ADDRCPT_PAR, CHGFROM; lists of macros of OPTNEG, for
	                              ss_mp_list_next */
	struct sm_str body;        /* REPLBODY */
	int reply;                 /* REPLYCODE: 4yz or 5yz, and its text is for ss_mp_reply_text */
};
/* Takes a packet apart; strings point into it. SM_E_PROTO: it is no such packet. */
int ss_mp_reply(const struct ss_mp_packet *p, struct ss_mp_reply *r) SM_MUST_CHECK;
/*
 * The text of REPLYCODE (in r->value) as replies are kept here: lines without code, LF between.
 * "%%" becomes "%", and a single one goes, because libmilter's text is a format.
 */
void ss_mp_reply_text(const struct ss_mp_reply *r, struct sm_buf *b);
/* The next list of macros: 1, 0 at the end, SM_E_PROTO. Names are separated by spaces or commas. */
int ss_mp_list_next(struct sm_str *lists, uint32_t *stage, struct sm_str *names) SM_MUST_CHECK;

#endif
