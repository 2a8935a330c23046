/*
 * Lines of JSON for control sockets. Invariant: whatever is put in, a line is one JSON object in
 * printable ASCII. Any thread; sending, the loop's.
 */
#include "libsm/ctl.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "libsm/json.h"

enum { PATH_BYTES = 108, WHY_BYTES = 512 };

static void comma(struct sm_buf *b)
{
	char last = b->len > 0 ? sm_buf_p(b)[b->len - 1] : '\n';

	if (last != '{' && last != '[')
		sm_buf_char(b, ',');
}

static void key_is(struct sm_buf *b, const char *key)
{
	comma(b);
	sm_buf_printf(b, "\"%s\":", key);
}

static void quoted(struct sm_buf *b, struct sm_str s)
{
	sm_buf_char(b, '"');
	sm_json_ascii(b, s, SIZE_MAX);
	sm_buf_char(b, '"');
}

void sm_ctl_begin(struct sm_buf *b, const char *type)
{
	sm_buf_printf(b, "{\"type\":\"%s\"", type);
}

void sm_ctl_line(struct sm_buf *b)
{
	sm_buf_cstr(b, "}\n");
}

void sm_ctl_str(struct sm_buf *b, const char *key, struct sm_str s)
{
	key_is(b, key);
	quoted(b, s);
}

void sm_ctl_num(struct sm_buf *b, const char *key, int64_t n)
{
	key_is(b, key);
	sm_buf_printf(b, "%" PRId64, n);
}

void sm_ctl_bool(struct sm_buf *b, const char *key, bool yes)
{
	key_is(b, key);
	sm_buf_cstr(b, yes ? "true" : "false");
}

void sm_ctl_null(struct sm_buf *b, const char *key)
{
	key_is(b, key);
	sm_buf_cstr(b, "null");
}

void sm_ctl_array(struct sm_buf *b, const char *key)
{
	key_is(b, key);
	sm_buf_char(b, '[');
}

void sm_ctl_open(struct sm_buf *b)
{
	comma(b);
	sm_buf_char(b, '{');
}

void sm_ctl_close(struct sm_buf *b)
{
	sm_buf_char(b, '}');
}

void sm_ctl_item(struct sm_buf *b, struct sm_str s)
{
	comma(b);
	quoted(b, s);
}

void sm_ctl_array_end(struct sm_buf *b)
{
	sm_buf_char(b, ']');
}

void sm_ctl_send(struct sm_peer *peer, uint64_t tag, struct sm_buf *b)
{
	struct sm_msg_ctl_text m;

	while (b->len > 0) {
		m.text = sm_str_head(sm_buf_view(b), SM_CTL_PIECE_BYTES);
		sm_peer_reply(peer, tag, SM_FRAME_MORE, SM_MSG_ctl_text, &m);
		sm_buf_consume(b, m.text.n);
	}
	sm_buf_reset(b);
}

void sm_ctl_end(struct sm_peer *peer, uint64_t tag, uint8_t status, const char *why)
{
	struct sm_msg_ctl_end m = {.status = status};
	char text[WHY_BYTES];

	sm_str_cut(sm_str(why), text, sizeof(text));
	m.text = sm_str(text);
	sm_peer_reply(peer, tag, 0, SM_MSG_ctl_end, &m);
}

gid_t sm_ctl_group(struct sm_str socket)
{
	ptrdiff_t slash = sm_str_rchr(socket, '/');
	char path[PATH_BYTES];
	struct stat st;

	if (slash <= 0 ||
	    sm_str_copy(sm_str_head(socket, (size_t)slash), path, sizeof(path)) != 0 ||
	    stat(path, &st) != 0)
		return (gid_t)-1;
	return st.st_gid;
}
