/*
 * DATA (RFC 5321 4.1.1.4): content up to CRLF.CRLF, dot-stuffed.
 *
 * Invariant: nothing is answered before CRLF.CRLF has come, whatever is found on the way.
 */
#include "libsm/msg.h"
#include "smtps/cmds.h"
#include "smtps/content.h"
#include "smtps/session.h"

void ss_cmd_data(struct ss_session *s, struct sm_str arg)
{
	char *piece;
	ssize_t n;

	(void)arg;
	/* RFC 3030 3: content without line ends has no other way than chunks. */
	if (s->txn.body == SM_BODY_BINARYMIME) {
		ss_bad(s, SS_R_BINARY_DATA);
		return;
	}
	if (!ss_content_begin(s, false))
		return;
	ss_say(s, SS_R_GO_AHEAD);
	sm_stream_data_begin(&s->io);
	piece = sm_malloc(SS_PIECE_BYTES);
	while ((n = sm_stream_data(&s->io, piece, SS_PIECE_BYTES, ss_content_deadline(s))) > 0) {
		int err = ss_content_feed(s, piece, (size_t)n);

		if (err != 0) {
			n = err;
			break;
		}
	}
	sm_free(piece);
	if (n != 0) {
		ss_content_cut(s, (int)n);
		return;
	}
	if (s->io.bare_cr || s->io.bare_lf)
		s->txn.in->scan.bare = true;
	ss_answer_each(s);
	ss_content_end(s);
}
