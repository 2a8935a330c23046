/*
 * A filter by libmilter for tests of milter clients: does at each event what a file says, and
 * writes down all that it is told. On its own, without libsm.
 *
 *     testfilter SOCKET CONTROL LOG
 *
 * CONTROL is read at the beginning of each session. A line is EVENT WORD [ARGUMENT ...], separated
 * by blanks, %XX for any byte. EVENT is one of negotiate connect helo mail rcpt data header eoh
 * body eom unknown, or, as in rcpt=<b@x>, one whose first argument is that. Lines for an event are
 * obeyed in order; the first verdict ends it: continue accept reject tempfail discard skip noreply
 *     reply CODE STATUS LINE ...
 * At eom:
 *     addheader NAME VALUE, insheader INDEX NAME VALUE, chgheader INDEX NAME [VALUE],
 *     addrcpt ADDRESS [PARAMETERS], delrcpt ADDRESS, chgfrom ADDRESS [PARAMETERS],
 *     body TEXT, quarantine REASON, progress
 * At negotiate:
 *     steps FLAGS, symlist STAGE NAMES
 *
 * LOG gets lines of fields, a tab between, %XX for bytes that are not plain:
 *     SESSION EVENT [ARGUMENT ...]
 *     SESSION macro EVENT NAME VALUE     all that are known at an event, before its line
 *     SESSION did WORD yes|no            a change: does libmilter take it?
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <libmilter/mfapi.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORDERS_MAX = 64, WORDS_MAX = 40, LINE_BYTES = 200000 };

struct order {
	char *words[WORDS_MAX]; /* event, word, arguments; NULL behind them */
};
struct session {
	unsigned number;
	size_t count;
	struct order orders[ORDERS_MAX];
};

static const char *control_path;
static FILE *out;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned sessions;

/* ---- the log ---- */

static void put(const char *p, size_t n)
{
	putc('\t', out);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c > ' ' && c < 0x7f && c != '%')
			putc(c, out);
		else
			fprintf(out, "%%%02X", c);
	}
}

static void put_line(const struct session *s, const char *event, const char *const *args)
{
	pthread_mutex_lock(&lock);
	fprintf(out, "%u", s->number);
	put(event, strlen(event));
	for (; *args != NULL; args++)
		put(*args, strlen(*args));
	putc('\n', out);
	fflush(out);
	pthread_mutex_unlock(&lock);
}

static void put_macros(SMFICTX *ctx, const struct session *s, const char *event)
{
	static const char *const names[] = {"j",
	                                    "_",
	                                    "v",
	                                    "i",
	                                    "{daemon_name}",
	                                    "{daemon_addr}",
	                                    "{daemon_port}",
	                                    "{if_name}",
	                                    "{if_addr}",
	                                    "{client_name}",
	                                    "{client_addr}",
	                                    "{client_port}",
	                                    "{client_ptr}",
	                                    "{client_resolve}",
	                                    "{tls_version}",
	                                    "{cipher}",
	                                    "{cipher_bits}",
	                                    "{cert_subject}",
	                                    "{cert_issuer}",
	                                    "{auth_type}",
	                                    "{auth_authen}",
	                                    "{auth_author}",
	                                    "{mail_addr}",
	                                    "{mail_host}",
	                                    "{mail_mailer}",
	                                    "{rcpt_addr}",
	                                    "{rcpt_host}",
	                                    "{rcpt_mailer}",
	                                    "{nrcpts}",
	                                    "{msg_id}"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char name[32];
		const char *value;

		snprintf(name, sizeof(name), "%s", names[i]);
		value = smfi_getsymval(ctx, name);
		if (value != NULL)
			put_line(s, "macro", (const char *const[]){event, names[i], value, NULL});
	}
}

/* ---- orders ---- */

static int hex(char c)
{
	const char *digits = "0123456789ABCDEF", *at = strchr(digits, toupper((unsigned char)c));

	return c != '\0' && at != NULL ? (int)(at - digits) : -1;
}

static void decode(char *p)
{
	char *to = p;

	while (*p != '\0')
		if (*p == '%' && hex(p[1]) >= 0 && hex(p[2]) >= 0) {
			*to++ = (char)(hex(p[1]) * 16 + hex(p[2]));
			p += 3;
		} else {
			*to++ = *p++;
		}
	*to = '\0';
}

static void read_orders(struct session *s)
{
	FILE *f = fopen(control_path, "r");
	char *line = malloc(LINE_BYTES);

	while (f != NULL && s->count < ORDERS_MAX && fgets(line, LINE_BYTES, f) != NULL) {
		struct order *o = &s->orders[s->count];
		size_t n = 0;
		char *rest = NULL;

		for (char *w = strtok_r(line, " \n", &rest); w != NULL && n < WORDS_MAX - 1;
		     w = strtok_r(NULL, " \n", &rest)) {
			o->words[n] = strdup(w);
			decode(o->words[n++]);
		}
		s->count += n >= 2;
	}
	free(line);
	if (f != NULL)
		fclose(f);
}

/* Made when it is needed first: at the negotiation, or by a client that comes on a connection of
 * another one. */
static struct session *session_of(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (s != NULL)
		return s;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		abort();
	pthread_mutex_lock(&lock);
	s->number = ++sessions;
	pthread_mutex_unlock(&lock);
	read_orders(s);
	smfi_setpriv(ctx, s);
	return s;
}

static bool is_for(const struct order *o, const char *event, const char *first)
{
	size_t n = strlen(event);

	if (strncmp(o->words[0], event, n) != 0)
		return false;
	return o->words[0][n] == '\0' ||
	       (o->words[0][n] == '=' && first != NULL && strcmp(o->words[0] + n + 1, first) == 0);
}

static int reply(SMFICTX *ctx, char **a)
{
	char *lines[WORDS_MAX];
	size_t n = 0;

	memset(lines, 0, sizeof(lines));
	while (a[0] != NULL && a[1] != NULL && a[2 + n] != NULL) {
		lines[n] = a[2 + n];
		n++;
	}
	if (n == 1)
		return smfi_setreply(ctx, a[0], a[1], lines[0]);
	/* The end is a NULL; libmilter itself stops at 32 lines. */
	return smfi_setmlreply(ctx, a[0], a[1], lines[0], lines[1], lines[2], lines[3], lines[4],
	                       lines[5], lines[6], lines[7], NULL);
}

/* A change; -1: it is none. */
static int change(SMFICTX *ctx, const char *word, char **a)
{
	char nothing[] = "";

	if (strcmp(word, "addheader") == 0)
		return smfi_addheader(ctx, a[0], a[1] != NULL ? a[1] : nothing);
	if (strcmp(word, "insheader") == 0)
		return smfi_insheader(ctx, atoi(a[0]), a[1], a[2] != NULL ? a[2] : nothing);
	if (strcmp(word, "chgheader") == 0)
		return smfi_chgheader(ctx, a[1], atoi(a[0]), a[2]);
	if (strcmp(word, "addrcpt") == 0)
		return a[1] != NULL ? smfi_addrcpt_par(ctx, a[0], a[1]) : smfi_addrcpt(ctx, a[0]);
	if (strcmp(word, "delrcpt") == 0)
		return smfi_delrcpt(ctx, a[0]);
	if (strcmp(word, "chgfrom") == 0)
		return smfi_chgfrom(ctx, a[0], a[1]);
	if (strcmp(word, "body") == 0)
		return smfi_replacebody(ctx, (unsigned char *)(a[0] != NULL ? a[0] : ""),
		                        a[0] != NULL ? (int)strlen(a[0]) : 0);
	if (strcmp(word, "quarantine") == 0)
		return smfi_quarantine(ctx, a[0]);
	if (strcmp(word, "progress") == 0)
		return smfi_progress(ctx);
	return -1;
}

static bool verdict(const char *word, sfsistat *v)
{
	static const struct {
		const char *word;
		sfsistat v;
	} all[] = {{"continue", SMFIS_CONTINUE}, {"accept", SMFIS_ACCEPT},
	           {"reject", SMFIS_REJECT},     {"tempfail", SMFIS_TEMPFAIL},
	           {"discard", SMFIS_DISCARD},   {"skip", SMFIS_SKIP},
	           {"noreply", SMFIS_NOREPLY}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i].word, word) == 0) {
			*v = all[i].v;
			return true;
		}
	return false;
}

/* Writes down what came and does what it is told to. */
static sfsistat at(SMFICTX *ctx, const char *event, const char *const *args)
{
	struct session *s = session_of(ctx);
	sfsistat v = SMFIS_CONTINUE;

	put_macros(ctx, s, event);
	put_line(s, event, args);
	for (size_t i = 0; i < s->count; i++) {
		struct order *o = &s->orders[i];
		const char *word = o->words[1];
		bool is_reply = strcmp(word, "reply") == 0;
		int rc;

		if (!is_for(o, event, args[0]))
			continue;
		if (verdict(word, &v))
			return v;
		rc = is_reply ? reply(ctx, o->words + 2) : change(ctx, word, o->words + 2);
		put_line(s, "did",
		         (const char *const[]){word, rc == MI_SUCCESS ? "yes" : "no", NULL});
		if (is_reply)
			return o->words[2][0] == '4' ? SMFIS_TEMPFAIL : SMFIS_REJECT;
	}
	return v;
}

/* ---- events ---- */

#define ARGS(...)                 \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}
static const char *const no_args[] = {NULL};

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps,
                             unsigned long u1, unsigned long u2, unsigned long *my_actions,
                             unsigned long *my_steps, unsigned long *my_u1, unsigned long *my_u2)
{
	struct session *s = session_of(ctx);
	char a[32], b[32];

	(void)u1, (void)u2;
	snprintf(a, sizeof(a), "%lx", actions);
	snprintf(b, sizeof(b), "%lx", steps);
	put_line(s, "negotiate", ARGS(a, b));
	*my_actions = actions;
	*my_steps = *my_u1 = *my_u2 = 0;
	for (size_t i = 0; i < s->count; i++) {
		struct order *o = &s->orders[i];

		if (!is_for(o, "negotiate", NULL) || o->words[2] == NULL)
			continue;
		if (strcmp(o->words[1], "steps") == 0)
			*my_steps = strtoul(o->words[2], NULL, 16) & steps;
		if (strcmp(o->words[1], "symlist") == 0 && o->words[3] != NULL)
			smfi_setsymlist(ctx, atoi(o->words[2]), o->words[3]);
	}
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *sa)
{
	char text[INET6_ADDRSTRLEN] = "none";

	if (sa != NULL && sa->sa_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)sa)->sin_addr, text,
		          sizeof(text));
	if (sa != NULL && sa->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)sa)->sin6_addr, text,
		          sizeof(text));
	return at(ctx, "connect", ARGS(name, text));
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	return at(ctx, "helo", ARGS(name));
}

static sfsistat on_mail(SMFICTX *ctx, char **args)
{
	return at(ctx, "mail", (const char *const *)args);
}

static sfsistat on_rcpt(SMFICTX *ctx, char **args)
{
	return at(ctx, "rcpt", (const char *const *)args);
}

static sfsistat on_data(SMFICTX *ctx)
{
	return at(ctx, "data", no_args);
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	return at(ctx, "header", ARGS(name, value));
}

static sfsistat on_eoh(SMFICTX *ctx)
{
	return at(ctx, "eoh", no_args);
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *p, size_t n)
{
	char *text = malloc(n + 1);
	sfsistat v;

	if (text == NULL)
		abort();
	memcpy(text, p, n);
	text[n] = '\0';
	v = at(ctx, "body", ARGS(text));
	free(text);
	return v;
}

static sfsistat on_eom(SMFICTX *ctx)
{
	return at(ctx, "eom", no_args);
}

static sfsistat on_unknown(SMFICTX *ctx, const char *line)
{
	return at(ctx, "unknown", ARGS(line));
}

static sfsistat on_abort(SMFICTX *ctx)
{
	put_line(session_of(ctx), "abort", no_args);
	return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (s == NULL)
		return SMFIS_CONTINUE;
	put_line(s, "close", no_args);
	for (size_t i = 0; i < s->count; i++)
		for (char **w = s->orders[i].words; *w != NULL; w++)
			free(*w);
	free(s);
	smfi_setpriv(ctx, NULL);
	return SMFIS_CONTINUE;
}

static char filter_name[] = "testfilter";
static struct smfiDesc filter = {
    .xxfi_name = filter_name,
    .xxfi_version = SMFI_VERSION,
    .xxfi_flags = SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_CHGBODY | SMFIF_ADDRCPT |
                  SMFIF_ADDRCPT_PAR | SMFIF_DELRCPT | SMFIF_QUARANTINE | SMFIF_CHGFROM |
                  SMFIF_SETSYMLIST,
    .xxfi_connect = on_connect,
    .xxfi_helo = on_helo,
    .xxfi_envfrom = on_mail,
    .xxfi_envrcpt = on_rcpt,
    .xxfi_header = on_header,
    .xxfi_eoh = on_eoh,
    .xxfi_body = on_body,
    .xxfi_eom = on_eom,
    .xxfi_abort = on_abort,
    .xxfi_close = on_close,
    .xxfi_unknown = on_unknown,
    .xxfi_data = on_data,
    .xxfi_negotiate = on_negotiate,
};

int main(int argc, char **argv)
{
	if (argc != 4) {
		fputs("usage: testfilter SOCKET CONTROL LOG\n", stderr);
		return 64;
	}
	control_path = argv[2];
	out = fopen(argv[3], "w");
	if (out == NULL || smfi_setconn(argv[1]) != MI_SUCCESS ||
	    smfi_register(filter) != MI_SUCCESS || smfi_opensocket(0) != MI_SUCCESS) {
		fprintf(stderr, "testfilter: %s or %s cannot be had\n", argv[1], argv[3]);
		return 71;
	}
	puts("ready");
	fflush(stdout);
	return smfi_main() == MI_SUCCESS ? 0 : 70;
}
