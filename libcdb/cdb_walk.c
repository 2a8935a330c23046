/*
 * What is in a segment, for who has nobody to tell: after a loss of qmgr's records its heads say
 * which mails there are and where. Blocking; keeps no state.
 *
 * Invariant: of a place in a segment nothing is given out or cleared unless its head is sound and
 * of that very content. A head alone proves little, because contents are what strangers sent: where
 * one was damaged the walk comes upon bytes of theirs that may look like another one.
 */
#include "libcdb/cdb_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/crc32c.h"

struct walk {
	struct cdb *s;
	struct sm_id segment;
	int fd;
	uint64_t size;
	/* A piece of the file. */
	char *buf;
	uint64_t buf_at;
	size_t in_buf;
};

static void walk_close(struct walk *w)
{
	if (w->fd != -1)
		close(w->fd);
	if (w->buf != NULL)
		cdb_pool_put(&w->s->pieces, w->buf);
}

static int walk_open(struct walk *w, struct cdb *s, struct sm_id segment, int how)
{
	char name[SM_ID_SIZE];
	struct stat st;
	int rc = 0;

	*w = (struct walk){.s = s, .segment = segment, .buf = cdb_pool_get(&s->pieces)};
	w->fd = openat(s->dir[cdb_dir_index(segment)], sm_id_text(segment, name),
	               how | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (w->fd == -1 || fstat(w->fd, &st) == -1)
		rc = cdb_fail(w->s, w->segment, errno, "open");
	else if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		rc = cdb_corrupt(w->s, w->segment, "is no plain file");
	else
		w->size = (uint64_t)st.st_size;
	if (rc != 0)
		walk_close(w);
	return rc;
}

/* `n` bytes at `at`, at most a piece, until the next call. */
static int look(struct walk *w, uint64_t at, size_t n, const char **p)
{
	ssize_t got;

	if (at < w->buf_at || at + n > w->buf_at + w->in_buf) {
		w->buf_at = at;
		w->in_buf = 0;
		while (w->in_buf < n) {
			got = pread(w->fd, w->buf + w->in_buf, CDB_PIECE_BYTES - w->in_buf,
			            (off_t)(at + w->in_buf));
			if (got == -1 && errno == EINTR)
				continue;
			if (got <= 0)
				return got == 0
				           ? cdb_corrupt(w->s, w->segment, "has become shorter")
				           : cdb_fail(w->s, w->segment, errno, "read");
			w->in_buf += (size_t)got;
		}
	}
	*p = w->buf + (at - w->buf_at);
	return 0;
}

static bool is_room(const char *head)
{
	static const char zeros[CDB_ENTRY_BYTES];

	return memcmp(head, zeros, sizeof(zeros)) == 0;
}

int cdb_entries(struct cdb *s, struct sm_id segment,
                bool (*each)(struct sm_id id, const struct cdb_place *at, void *arg), void *arg,
                uint64_t *damaged)
{
	struct walk w;
	int rc = walk_open(&w, s, segment, O_RDONLY);
	uint64_t at = 0;
	bool more = true;

	*damaged = 0;
	if (rc != 0)
		return rc;
	while (more && at + CDB_ENTRY_BYTES <= w.size) {
		struct cdb_place place = {.content = segment,
		                          .offset = (uint32_t)at + CDB_ENTRY_BYTES};
		struct cdb_entry e;
		const char *head;

		if (at > UINT32_MAX - CDB_ENTRY_BYTES ||
		    (rc = look(&w, at, CDB_ENTRY_BYTES, &head)) != 0)
			break;
		if (!cdb_entry_get(head, &e) || e.size > w.size - place.offset) {
			*damaged += is_room(head) ? 0 : CDB_ENTRY_ALIGN;
			at += CDB_ENTRY_ALIGN;
			continue;
		}
		place.size = e.size;
		more = each(e.id, &place, arg);
		at += cdb_entry_end(e.size);
	}
	if (more && rc == 0 && at < w.size)
		*damaged += w.size - at; /* not even a head */
	walk_close(&w);
	return rc;
}

/* The head of that content is there, and the content in the file. */
static int find(struct walk *w, struct sm_id id, const struct cdb_place *at, struct cdb_entry *e)
{
	const char *head;
	int rc;

	if (at->offset < CDB_ENTRY_BYTES || at->offset > w->size || at->size > w->size - at->offset)
		return cdb_corrupt(w->s, w->segment, "is shorter than its record says");
	rc = look(w, at->offset - CDB_ENTRY_BYTES, CDB_ENTRY_BYTES, &head);
	if (rc == 0 && (!cdb_entry_get(head, e) || !sm_id_eq(e->id, id) || e->size != at->size))
		rc = cdb_corrupt(w->s, w->segment, "has another content there");
	return rc;
}

static int verify(struct walk *w, const struct cdb_place *at, uint32_t want)
{
	uint32_t crc = 0;

	for (uint64_t done = 0; done < at->size;) {
		size_t n = (size_t)SM_MIN(at->size - done, (uint64_t)CDB_PIECE_BYTES);
		const char *p;
		int rc = look(w, at->offset + done, n, &p);

		if (rc != 0)
			return rc;
		crc = sm_crc32c(crc, p, n);
		done += n;
	}
	return crc == want ? 0 : cdb_corrupt(w->s, w->segment, "is damaged");
}

int cdb_entry_open(struct cdb *s, struct sm_id id, const struct cdb_place *at, int *fd)
{
	struct walk w;
	struct cdb_entry e;
	int rc = walk_open(&w, s, at->content, O_RDONLY);

	if (rc != 0)
		return rc;
	if ((rc = find(&w, id, at, &e)) == 0 && (rc = verify(&w, at, e.crc)) == 0) {
		*fd = w.fd;
		w.fd = -1;
	}
	walk_close(&w);
	return rc;
}

int cdb_entry_clear(struct cdb *s, struct sm_id id, const struct cdb_place *at)
{
	struct walk w;
	struct cdb_entry e;
	int rc = walk_open(&w, s, at->content, O_RDWR);

	if (rc != 0)
		return rc;
	rc = find(&w, id, at, &e);
	if (rc == 0) {
		uint64_t end = at->offset + at->size;

		/* From the head on: whoever is stopped half-way leaves no content without its end.
		 */
		memset(w.buf, 0, CDB_PIECE_BYTES);
		for (uint64_t p = at->offset - CDB_ENTRY_BYTES; p < end && rc == 0;) {
			size_t n = (size_t)SM_MIN(end - p, (uint64_t)CDB_PIECE_BYTES);
			ssize_t put = pwrite(w.fd, w.buf, n, (off_t)p);

			if (put > 0)
				p += (uint64_t)put;
			else if (put == 0 || errno != EINTR)
				rc = cdb_fail(w.s, w.segment, put == 0 ? EIO : errno, "write");
		}
	}
	walk_close(&w);
	return rc;
}
