/*
 * milter-regex: a filter that judges mail by a file of rules with regular expressions. This file
 * alone talks to libmilter, which runs each session in a thread of its own; rules are shared and
 * never change.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmilter/mfapi.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include "contrib/milter_rules.h"

enum { LINE_BYTES = 8192, REPLY_BYTES = 1024 };

static const struct mr_rules *rules;
static bool foreground;

struct session {
	struct mr_state *state;
	bool skips;   /* the server can be told that the rest of a body need not come */
	bool content; /* recipients are over */
	size_t n;     /* of the line of the body that is not yet complete */
	char line[LINE_BYTES + 1];
};

static void say(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(int priority, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (foreground) {
		char text[REPLY_BYTES];

		vsnprintf(text, sizeof(text), format, ap);
		fprintf(stderr, "milter-regex: %s\n", text);
	} else {
		vsyslog(priority, format, ap);
	}
	va_end(ap);
}

/* ---- verdicts ---- */

/* libmilter takes the text as a format. */
static bool set_reply(SMFICTX *ctx, const struct mr_rule *rule)
{
	char text[REPLY_BYTES], code[sizeof(rule->code)], status[sizeof(rule->status)];
	size_t n = 0;

	for (const char *p = rule->text; *p != '\0' && n + 2 < sizeof(text); p++) {
		text[n++] = *p;
		if (*p == '%')
			text[n++] = '%';
	}
	text[n] = '\0';
	memcpy(code, rule->code, sizeof(code));
	memcpy(status, rule->status, sizeof(status));
	return smfi_setreply(ctx, code, status, text) == MI_SUCCESS;
}

static sfsistat verdict(SMFICTX *ctx, const struct session *s, const struct mr_rule *rule)
{
	static const char *const words[] = {"accept",  "reject",     "tempfail",
	                                    "discard", "quarantine", "add"};
	char i[] = "i";
	const char *id = smfi_getsymval(ctx, i);

	if (rule == NULL)
		return SMFIS_CONTINUE;
	say(LOG_INFO, "%s: line %u: %s", id != NULL ? id : "-", rule->line, words[rule->action]);
	switch (rule->action) {
	case MR_ACCEPT:
		return mr_any_pending(s->state) ? SMFIS_CONTINUE : SMFIS_ACCEPT;
	case MR_DISCARD:
		return SMFIS_DISCARD;
	case MR_REJECT:
	case MR_TEMPFAIL:
		if (!set_reply(ctx, rule))
			say(LOG_WARNING, "line %u: libmilter does not take the reply", rule->line);
		return rule->action == MR_REJECT ? SMFIS_REJECT : SMFIS_TEMPFAIL;
	case MR_QUARANTINE:
	case MR_ADD:
		break;
	}
	return SMFIS_CONTINUE;
}

/* ---- connection and envelope ---- */

/* NULL: no memory. */
static struct session *session_of(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (s != NULL)
		return s;
	s = calloc(1, sizeof(*s));
	if (s == NULL || (s->state = mr_state_new(rules)) == NULL) {
		free(s);
		say(LOG_ERR, "no memory for a session");
		return NULL;
	}
	smfi_setpriv(ctx, s);
	return s;
}

/* Bodies need not come if nobody asks about them. */
static sfsistat on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps,
                             unsigned long unused1, unsigned long unused2,
                             unsigned long *my_actions, unsigned long *my_steps, unsigned long *my1,
                             unsigned long *my2)
{
	struct session *s = session_of(ctx);

	(void)unused1, (void)unused2;
	if (s == NULL)
		return SMFIS_REJECT;
	s->skips = (steps & SMFIP_SKIP) != 0;
	*my_actions = actions & (SMFIF_ADDHDRS | SMFIF_QUARANTINE);
	*my_steps = steps & (SMFIP_SKIP | SMFIP_NOUNKNOWN);
	if (!mr_asks(rules, MR_BODY))
		*my_steps |= steps & SMFIP_NOBODY;
	*my1 = *my2 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *address)
{
	struct session *s = session_of(ctx);
	char text[INET6_ADDRSTRLEN] = "local";

	if (s == NULL)
		return SMFIS_TEMPFAIL;
	if (address != NULL && address->sa_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)address)->sin_addr, text,
		          sizeof(text));
	if (address != NULL && address->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)address)->sin6_addr, text,
		          sizeof(text));
	return verdict(ctx, s, mr_tell(s->state, MR_CONNECT, name, text));
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	struct session *s = smfi_getpriv(ctx);

	return verdict(ctx, s, mr_tell(s->state, MR_HELO, name, NULL));
}

/* The address, without <>. Its place is the session's line, which only the body needs. */
static const char *mailbox(struct session *s, const char *path)
{
	size_t n = strlen(path);

	if (n >= 2 && path[0] == '<' && path[n - 1] == '>') {
		path++;
		n -= 2;
	}
	if (n > LINE_BYTES)
		n = LINE_BYTES;
	memcpy(s->line, path, n);
	s->line[n] = '\0';
	return s->line;
}

static sfsistat on_mail(SMFICTX *ctx, char **args)
{
	struct session *s = smfi_getpriv(ctx);

	s->content = false;
	s->n = 0;
	return verdict(ctx, s, mr_tell(s->state, MR_MAIL, mailbox(s, args[0]), NULL));
}

static sfsistat on_rcpt(SMFICTX *ctx, char **args)
{
	struct session *s = smfi_getpriv(ctx);

	return verdict(ctx, s, mr_tell(s->state, MR_RCPT, mailbox(s, args[0]), NULL));
}

/* ---- content ---- */

/* Not every server says when the recipients are over. */
static const struct mr_rule *enter_content(struct session *s)
{
	if (s->content)
		return NULL;
	s->content = true;
	return mr_end(s->state, MR_RCPT);
}

static sfsistat on_data(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	return verdict(ctx, s, enter_content(s));
}

/* A folded value is one line. */
static void unfold(char *value)
{
	char *out = value;

	for (const char *p = value; *p != '\0'; p++)
		if (*p != '\n' && !(*p == '\r' && p[1] == '\n'))
			*out++ = *p;
	*out = '\0';
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	struct session *s = smfi_getpriv(ctx);
	const struct mr_rule *rule = enter_content(s);

	unfold(value);
	return verdict(ctx, s, rule != NULL ? rule : mr_tell(s->state, MR_HEADER, name, value));
}

static sfsistat on_eoh(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);
	const struct mr_rule *rule = enter_content(s);

	return verdict(ctx, s, rule != NULL ? rule : mr_end(s->state, MR_HEADER));
}

static const struct mr_rule *tell_line(struct session *s)
{
	s->line[s->n] = '\0';
	if (s->n > 0 && s->line[s->n - 1] == '\r')
		s->line[s->n - 1] = '\0';
	s->n = 0;
	return mr_tell(s->state, MR_BODY, s->line, NULL);
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *p, size_t n)
{
	struct session *s = smfi_getpriv(ctx);
	const struct mr_rule *rule = NULL;

	for (size_t i = 0; rule == NULL && i < n; i++) {
		if (p[i] == '\n' || s->n == LINE_BYTES)
			rule = tell_line(s);
		if (p[i] != '\n')
			s->line[s->n++] = p[i] != '\0' ? (char)p[i] : ' ';
	}
	if (rule == NULL && s->skips && !mr_curious(s->state, MR_BODY))
		return SMFIS_SKIP;
	return verdict(ctx, s, rule);
}

/* What gathered. */
static bool change(SMFICTX *ctx, const struct session *s)
{
	bool held = false;

	for (size_t i = 0; i < mr_count(rules); i++) {
		const struct mr_rule *rule = mr_rule(rules, i);
		int rc = MI_SUCCESS;

		if (!mr_pending(s->state, i))
			continue;
		if (rule->action == MR_ADD) {
			rc = smfi_addheader(ctx, rule->name, rule->text);
		} else if (!held) {
			(void)verdict(ctx, s, rule);
			held = true;
			rc = smfi_quarantine(ctx, rule->text);
		}
		if (rc != MI_SUCCESS) {
			say(LOG_ERR, "line %u: the mail server does not allow it", rule->line);
			return false;
		}
	}
	return true;
}

static sfsistat on_eom(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);
	const struct mr_rule *rule = s->n > 0 ? tell_line(s) : NULL;

	if (rule == NULL)
		rule = mr_end(s->state, MR_BODY);
	if (rule != NULL && rule->action != MR_ACCEPT)
		return verdict(ctx, s, rule);
	return change(ctx, s) ? SMFIS_ACCEPT : SMFIS_TEMPFAIL;
}

static sfsistat on_close(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (s != NULL)
		mr_state_free(s->state);
	free(s);
	smfi_setpriv(ctx, NULL);
	return SMFIS_CONTINUE;
}

/* ---- the program ---- */

static int usage(void)
{
	fputs("usage: milter-regex [-d] [-c FILE] -p SOCKET\n"
	      "       milter-regex -n [-c FILE]\n"
	      "  -c FILE     the rules (default " SMX_SYSCONFDIR "/milter-regex.conf)\n"
	      "  -d          stay in the foreground, and say there what is done\n"
	      "  -n          only check the rules\n"
	      "  -p SOCKET   where to listen: unix:PATH, inet:PORT@HOST, inet6:PORT@HOST\n",
	      stderr);
	return EX_USAGE;
}

static const struct mr_rules *read_rules(const char *path)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
	const struct mr_rules *r;

	if (f == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return NULL;
	}
	r = mr_read(f, path, stderr);
	if (f != stdin)
		fclose(f);
	return r;
}

static char filter_name[] = "milter-regex";
static struct smfiDesc filter = {
    .xxfi_name = filter_name,
    .xxfi_version = SMFI_VERSION,
    .xxfi_flags = SMFIF_ADDHDRS | SMFIF_QUARANTINE,
    .xxfi_connect = on_connect,
    .xxfi_helo = on_helo,
    .xxfi_envfrom = on_mail,
    .xxfi_envrcpt = on_rcpt,
    .xxfi_header = on_header,
    .xxfi_eoh = on_eoh,
    .xxfi_body = on_body,
    .xxfi_eom = on_eom,
    .xxfi_close = on_close,
    .xxfi_data = on_data,
    .xxfi_negotiate = on_negotiate,
};

static int serve(char *address)
{
	if (smfi_setconn(address) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS ||
	    smfi_opensocket(1) != MI_SUCCESS) {
		fprintf(stderr, "milter-regex: cannot listen on %s\n", address);
		return EX_OSERR;
	}
	if (!foreground && daemon(0, 0) != 0) {
		fprintf(stderr, "milter-regex: daemon: %s\n", strerror(errno));
		return EX_OSERR;
	}
	say(LOG_INFO, "%zu rules, listening on %s", mr_count(rules), address);
	return smfi_main() == MI_SUCCESS ? EX_OK : EX_SOFTWARE;
}

int main(int argc, char **argv)
{
	const char *path = SMX_SYSCONFDIR "/milter-regex.conf";
	char *address = NULL;
	bool check = false;
	int c;

	while ((c = getopt(argc, argv, "c:dnp:")) != -1)
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case 'd':
			foreground = true;
			break;
		case 'n':
			check = true;
			break;
		case 'p':
			address = optarg;
			break;
		default:
			return usage();
		}
	if (optind != argc || (address == NULL && !check))
		return usage();
	openlog("milter-regex", LOG_PID, LOG_MAIL);
	rules = read_rules(path);
	if (check || rules == NULL)
		return rules != NULL ? 0 : 1;
	return serve(address);
}
