/*
 * The generated part of smx.conf(5): what the tables say about every option. The prose around it is
 * doc/man/smx.conf.5.in.
 */
#include "misc/smconf.h"

static void put_list(struct sm_buf *b, const struct sm_opt *table, const char *prefix)
{
	sm_buf_cstr(b, ".Bl -tag -width Ds\n");
	sm_conf_man(b, table, prefix);
	sm_buf_cstr(b, ".El\n");
}

/* They are described where their section is. */
static void put_names(struct sm_buf *b, const struct cf_text *t)
{
	sm_buf_printf(b, "It takes these options of\n.Ic %s :\n", t->section);
	sm_buf_cstr(b, ".Bl -item -compact -offset indent\n");
	for (const struct sm_opt *o = t->opts; o->name != NULL; o++)
		if (o->session)
			sm_buf_printf(b, ".It\n.Ic %s\n", o->name);
	sm_buf_cstr(b, ".El\n");
}

static void put_texts(struct sm_buf *b)
{
	sm_buf_cstr(b, ".Sh TEXTS OF MAPS\n"
	               "What these entries of maps have as their value is written as sections "
	               "are, on one line:\n"
	               ".Dl smtpc_session_conf:mx.example.net tls { level = verify; }\n");
	for (const struct cf_text *t = cf_texts; t->name != NULL; t++) {
		sm_buf_printf(b, ".Ss %s\n%s.\n", t->name, t->about);
		if (t->section != NULL)
			put_names(b, t);
		else
			put_list(b, t->opts, "");
	}
}

void cf_man(struct sm_buf *b)
{
	sm_buf_cstr(b, ".Sh GLOBAL OPTIONS\nThese stand outside of all sections.\n");
	put_list(b, sm_conf_global_opts, "");
	sm_buf_cstr(b, ".Sh OPTIONS OF EVERY COMPONENT\nEach section of a component, and the "
	               "section\n.Ic mcp ,\nmay have:\n");
	put_list(b, sm_conf_worker_opts, "");
	sm_buf_cstr(b, ".Sh OPTIONS FOR MCP\n"
	               "Every section that has\n.Ic path\nand\n.Ic start_action\nis a program "
	               "that\n.Xr mcp 8\nruns.\n"
	               "Such a section may have:\n");
	put_list(b, sm_conf_mcp_opts, "");
	for (const struct cf_component *k = cf_components; k->keyword != NULL; k++) {
		if (k->opts == NULL || k->opts[0].name == NULL)
			continue;
		sm_buf_cstr(b, ".Sh OPTIONS FOR ");
		for (const char *p = k->keyword; *p != '\0'; p++)
			sm_buf_char(b, (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p));
		sm_buf_printf(b, "\n%s.\n", k->about);
		put_list(b, k->opts, "");
	}
	put_texts(b);
}
