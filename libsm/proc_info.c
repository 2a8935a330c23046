/*
 * What a worker says about itself: usage, versions, build options, configuration. Versions of
 * libraries that run are asked only where the process links the library (weak references): printing
 * them makes nobody depend on it.
 */
#include <ares.h>
#include <db.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#ifdef SM_HAVE_TLS
#include <openssl/crypto.h>
#include <openssl/opensslv.h>
#pragma weak OpenSSL_version
#endif
#ifdef SM_HAVE_SASL
#include <sasl/sasl.h>
#pragma weak sasl_version_info
#endif
#ifdef SM_HAVE_SECCOMP
#include <seccomp.h>
#pragma weak seccomp_version
#endif

#include "libsm/buf.h"
#include "libsm/proc_int.h"

#pragma weak ares_version
#pragma weak db_version

static void put(struct sm_buf *b, const char *library, const char *compiled, const char *running)
{
	sm_buf_printf(b, "%-12s %s", library, compiled);
	if (running != NULL)
		sm_buf_printf(b, ", running %s", running);
	sm_buf_char(b, '\n');
}

void sm_proc_versions(struct sm_buf *b)
{
	const char *running = NULL;
	char compiled[64], text[64];

	put(b, "c-ares", ARES_VERSION_STR, ares_version != NULL ? ares_version(NULL) : NULL);
	snprintf(compiled, sizeof(compiled), "%d.%d.%d", DB_VERSION_MAJOR, DB_VERSION_MINOR,
	         DB_VERSION_PATCH);
	if (db_version != NULL) {
		int major, minor, patch;
		(void)db_version(&major, &minor, &patch);
		snprintf(text, sizeof(text), "%d.%d.%d", major, minor, patch);
		running = text;
	}
	put(b, "Berkeley DB", compiled, running);
#ifdef SM_HAVE_TLS
	put(b, "OpenSSL", OPENSSL_VERSION_TEXT,
	    OpenSSL_version != NULL ? OpenSSL_version(OPENSSL_VERSION) : NULL);
#else
	put(b, "OpenSSL", "not compiled in", NULL);
#endif
#ifdef SM_HAVE_SASL
	snprintf(compiled, sizeof(compiled), "%d.%d.%d", SASL_VERSION_MAJOR, SASL_VERSION_MINOR,
	         SASL_VERSION_STEP);
	running = NULL;
	if (sasl_version_info != NULL) {
		int major, minor, step;
		sasl_version_info(NULL, NULL, &major, &minor, &step, NULL);
		snprintf(text, sizeof(text), "%d.%d.%d", major, minor, step);
		running = text;
	}
	put(b, "Cyrus SASL", compiled, running);
#else
	put(b, "Cyrus SASL", "not compiled in", NULL);
#endif
#ifdef SM_HAVE_SECCOMP
	snprintf(compiled, sizeof(compiled), "%d.%d.%d", SCMP_VER_MAJOR, SCMP_VER_MINOR,
	         SCMP_VER_MICRO);
	running = NULL;
	if (seccomp_version != NULL) {
		const struct scmp_version *v = seccomp_version();
		snprintf(text, sizeof(text), "%u.%u.%u", v->major, v->minor, v->micro);
		running = text;
	}
	put(b, "libseccomp", compiled, running);
#else
	put(b, "libseccomp", "not compiled in", NULL);
#endif
}

#ifdef SM_TESTING
#define TESTING "yes: fault points and test hooks"
#else
#define TESTING "no"
#endif
#ifdef SM_HAVE_PMILTER
#define PMILTER "yes"
#else
#define PMILTER "no"
#endif

void sm_proc_build(struct sm_buf *b)
{
	put(b, "compiler", __VERSION__, NULL);
	put(b, "coroutines", SM_CO_SWITCH, NULL);
	put(b, "pmilter", PMILTER, NULL);
	put(b, "testing", TESTING, NULL);
	put(b, "programs", SMX_LIBEXECDIR, NULL);
	put(b, "conf dir", SMX_SYSCONFDIR, NULL);
	put(b, "queue dir", SMX_QUEUEDIR, NULL);
}

static void print(struct sm_buf *b)
{
	while (b->len > 0) {
		ssize_t n = write(STDOUT_FILENO, sm_buf_p(b), b->len);
		if (n > 0)
			sm_buf_consume(b, (size_t)n);
		else if (errno != EINTR)
			break;
	}
	sm_buf_fini(b);
}

static void put_conf(struct sm_proc *p, struct sm_buf *b, bool with_help)
{
	sm_conf_dump(b, sm_conf_global_opts, &p->global, 0, with_help);
	sm_buf_cstr(b, p->name);
	if (!sm_str_empty(p->section))
		sm_buf_printf(b, " \"" SM_STR_FMT "\"", SM_STR_ARG(p->section));
	sm_buf_cstr(b, " {\n");
	sm_conf_dump(b, sm_conf_worker_opts, &p->worker, 1, with_help);
	sm_conf_dump(b, p->opts, p->conf, 1, with_help);
	sm_buf_cstr(b, "}\n");
}

void sm_proc_usage(struct sm_proc *p)
{
	struct sm_arena a;
	struct sm_buf b;

	sm_buf_init(&b, 4 << 20);
	sm_buf_printf(
	    &b, "usage: %s [options]\n%s", p->name,
	    "  -f FILE   read this configuration file; without it only built-in defaults hold\n"
	    "  -N NAME   use the section of this name\n"
	    "  -i ID     process index, 0 to 254 (default 0)\n"
	    "  -h        show this\n"
	    "  -V        show the version; more V's show more: libraries, build options,\n"
	    "            and from five on the configuration with all its values\n");
	if (p->usage != NULL)
		sm_buf_cstr(&b, p->usage);
	sm_buf_cstr(&b, "Options are taken in this order, later ones override earlier ones.\n\n"
	                "The configuration and its defaults:\n");
	sm_arena_init(&a, "usage", 16384, 16 << 20);
	p->conf = sm_arena_must(&a, p->conf_size);
	sm_conf_defaults(p->opts, p->conf, &a);
	sm_conf_defaults(sm_conf_global_opts, &p->global, &a);
	sm_conf_defaults(sm_conf_worker_opts, &p->worker, &a);
	put_conf(p, &b, true);
	sm_arena_fini(&a);
	p->conf = NULL;
	print(&b);
}

void sm_proc_show(struct sm_proc *p, int verbosity)
{
	struct sm_buf b;

	sm_buf_init(&b, 4 << 20);
	sm_buf_printf(&b, "%s (%s)\n", SM_VERSION_TEXT, p->name);
	if (verbosity >= 2)
		sm_proc_versions(&b);
	if (verbosity >= 3)
		sm_proc_build(&b);
	if (verbosity >= 5)
		put_conf(p, &b, true);
	if (verbosity >= 6) {
		sm_conf_dump_flags(&b, sm_conf_worker_opts);
		sm_conf_dump_flags(&b, p->opts);
	}
	print(&b);
}
