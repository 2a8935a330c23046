/*
 * What programs write to sendmail: whatever it is, the content has CRLF and no other line ends, its
 * header is complete, and handed in once more it is what it was.
 *
 * Input: a byte of options (1: a dot does not end it, 2: recipients are in the header), then the
 * message.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "libsm/err.h"
#include "misc/sendmail.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const struct sl_conf conf = {.max_message_bytes = 1 << 22, .max_rcpts = 10};

static void begin(struct sl_mail *m, const struct sl_opts *opts)
{
	*m = (struct sl_mail){.opts = opts,
	                      .conf = &conf,
	                      .hostname = SM_STR("mx.test"),
	                      .domain = SM_STR("d.test"),
	                      .sender = SM_STR("me@d.test"),
	                      .phrase = SM_STR("Me"),
	                      .fd = -1};
	sm_arena_init(&m->arena, "fuzz", 4096, 1 << 24);
}

static char *content(const struct sl_mail *m)
{
	char *p = sm_malloc(m->size + 1);

	sm_assert(pread(m->fd, p, m->size, 0) == (ssize_t)m->size);
	p[m->size] = '\0';
	return p;
}

static void check_lines(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\r')
			sm_assert(i + 1 < n && p[i + 1] == '\n');
		if (p[i] == '\n')
			sm_assert(i > 0 && p[i - 1] == '\r');
	}
	sm_assert(n > 1 && p[n - 1] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sl_opts opts = {.ignore_dots = true}, again = {.ignore_dots = true};
	struct sl_mail m, second;
	int fd, rc;

	if (n < 1 || n > 200000)
		return 0;
	opts.ignore_dots = (p[0] & 1) != 0;
	opts.from_header = (p[0] & 2) != 0;
	fd = memfd_create("input", MFD_CLOEXEC);
	sm_assert(fd != -1 && write(fd, p + 1, n - 1) == (ssize_t)(n - 1) &&
	          lseek(fd, 0, SEEK_SET) == 0);
	begin(&m, &opts);
	rc = sl_text_read(&m, fd);
	close(fd);
	sm_assert(rc == 0 || rc == SM_E_SYNTAX || rc == SM_E_TOOBIG ||
	          (rc == SM_E_NOTSUP && opts.from_header));
	if (rc == 0) {
		char *first = content(&m), *other;

		check_lines(first, m.size);
		sm_assert(m.rcpt_count <= 10 && (opts.from_header || m.rcpt_count == 0));
		begin(&second, &again);
		sm_assert(lseek(m.fd, 0, SEEK_SET) == 0 && sl_text_read(&second, m.fd) == 0);
		other = content(&second);
		sm_assert(m.size == second.size && memcmp(first, other, m.size) == 0);
		sm_assert(m.eight_bit == second.eight_bit);
		sm_free(first);
		sm_free(other);
		sl_mail_fini(&second);
	}
	sl_mail_fini(&m);
	return 0;
}
