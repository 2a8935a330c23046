/*
 * The frame around a message: length, type, flags, tag. Pure functions over bytes.
 *
 * Invariant: nothing is believed of a frame but what is checked here: length within bounds before
 * anybody waits for so many bytes, a type that the table has, flags that exist and go together.
 */
#include <endian.h>

#include "libsm/rpc_int.h"

int sm_frame_put(struct sm_buf *b, uint16_t type, uint16_t flags, uint64_t tag, const void *m)
{
	const struct sm_def_info *info = sm_msg_info(type);
	size_t at = b->len, length;
	uint32_t le;

	sm_assert(info != NULL && b->err == 0);
	sm_w_u32(b, 0);
	sm_w_u16(b, type);
	sm_w_u16(b, flags);
	sm_w_u64(b, tag);
	info->encode(b, m);
	length = b->len - at - sizeof(le);
	if (b->err != 0 || length > SM_FRAME_MAX) {
		sm_buf_truncate(b, at);
		b->err = 0;
		return sm_fail(SM_E_TOOBIG, "message %s: larger than it may be", info->name);
	}
	le = htole32((uint32_t)length);
	memcpy(sm_buf_p(b) + at, &le, sizeof(le));
	return 0;
}

ssize_t sm_frame_get(struct sm_str in, struct sm_frame *f)
{
	struct sm_reader r = sm_reader(sm_str_head(in, RPC_HEADER_BYTES));
	uint32_t length;

	if (in.n < sizeof(length))
		return 0;
	length = sm_r_u32(&r);
	if (length < RPC_LEAST_LENGTH || length > SM_FRAME_MAX)
		return sm_fail(SM_E_PROTO, "frame of %u bytes", length);
	if (in.n < RPC_HEADER_BYTES)
		return 0;
	f->type = sm_r_u16(&r);
	f->flags = sm_r_u16(&r);
	f->tag = sm_r_u64(&r);
	if (sm_msg_info(f->type) == NULL)
		return sm_fail(SM_E_PROTO, "frame of unknown type %#x", f->type);
	if ((f->flags & ~(SM_FRAME_REPLY | SM_FRAME_MORE)) != 0 || f->flags == SM_FRAME_MORE ||
	    ((f->flags & SM_FRAME_REPLY) != 0 && f->tag == 0))
		return sm_fail(SM_E_PROTO, "frame with wrong flags %#x", f->flags);
	if (in.n < sizeof(length) + length)
		return 0;
	f->body = sm_str_n(in.p + RPC_HEADER_BYTES, length - RPC_LEAST_LENGTH);
	return (ssize_t)(sizeof(length) + length);
}
