/* The texts of the socketmap protocol. Pure; what a server says is not believed. */
#include "smar/socketmap.h"

#include "libsm/err.h"

enum { LENGTH_DIGITS_MAX = 6 }; /* of AR_SOCKETMAP_REPLY_MAX */

void ar_socketmap_request(struct sm_buf *out, struct sm_str mapname, struct sm_str key)
{
	sm_buf_printf(out, "%zu:", mapname.n + 1 + key.n);
	sm_buf_str(out, mapname);
	sm_buf_char(out, ' ');
	sm_buf_str(out, key);
	sm_buf_char(out, ',');
}

int ar_socketmap_netstring(struct sm_str in, struct sm_str *payload, size_t *used)
{
	size_t digits = 0, n = 0;

	for (; digits < in.n && sm_isdigit(in.p[digits]); digits++) {
		if (digits == LENGTH_DIGITS_MAX)
			return sm_fail(SM_E_TOOBIG, "the reply is longer than %d bytes",
			               AR_SOCKETMAP_REPLY_MAX);
		n = n * 10 + (size_t)(in.p[digits] - '0');
	}
	if (n > AR_SOCKETMAP_REPLY_MAX)
		return sm_fail(SM_E_TOOBIG, "the reply is longer than %d bytes",
		               AR_SOCKETMAP_REPLY_MAX);
	if (digits == in.n)
		return SM_E_AGAIN;
	/* One leading zero is the number zero. */
	if (digits == 0 || in.p[digits] != ':' || (digits > 1 && in.p[0] == '0'))
		return sm_fail(SM_E_PROTO, "the reply does not begin as a netstring");
	if (in.n - digits - 1 < n + 1)
		return SM_E_AGAIN;
	*payload = sm_str_n(in.p + digits + 1, n);
	*used = digits + 1 + n + 1;
	if (in.p[*used - 1] != ',')
		return sm_fail(SM_E_PROTO, "the reply does not end as a netstring");
	return 0;
}

static const struct {
	struct sm_str word;
	enum ar_socketmap_status status;
} words[] = {
    {SM_STR("OK"), AR_SOCKETMAP_OK},           {SM_STR("NOTFOUND"), AR_SOCKETMAP_NOTFOUND},
    {SM_STR("NOMORE"), AR_SOCKETMAP_NOMORE},   {SM_STR("TEMP"), AR_SOCKETMAP_TEMP},
    {SM_STR("TIMEOUT"), AR_SOCKETMAP_TIMEOUT}, {SM_STR("PERM"), AR_SOCKETMAP_PERM},
};

int ar_socketmap_reply(struct sm_str payload, struct ar_socketmap_reply *out)
{
	struct sm_str rest, word = sm_str_split(payload, ' ', &rest);
	size_t i = 0;

	while (i < SM_ARRAY_SIZE(words) && !sm_str_eq(words[i].word, word))
		i++;
	if (i == SM_ARRAY_SIZE(words))
		return sm_fail(SM_E_PROTO, "the reply has no status that is known");
	out->status = words[i].status;
	out->data = rest;
	for (i = 0; i < rest.n; i++)
		if (((uint8_t)rest.p[i] < ' ' && rest.p[i] != '\t') || rest.p[i] == 0x7f)
			return sm_fail(SM_E_PROTO, "the reply has a control character (0x%02x)",
			               (unsigned)(uint8_t)rest.p[i]);
	return 0;
}
