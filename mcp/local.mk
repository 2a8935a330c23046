# mcp: the supervisor. Knows no mail; links nothing but libsm.
sbin_PROGRAMS += mcp/mcp
mcp_parts = mcp/mcp.h mcp/accept.h mcp/accept.c mcp/brake.h mcp/brake.c mcp/conf.h mcp/conf.c mcp/env.h mcp/env.c mcp/files.h mcp/files.c \
	mcp/handover.h mcp/handover.c mcp/listen.h mcp/listen.c mcp/notify.h mcp/notify.c mcp/order.h mcp/order.c \
	mcp/rights.h mcp/rights.c mcp/service.h mcp/service.c mcp/spawn.h mcp/spawn.c mcp/supervise.h mcp/supervise.c \
	mcp/talk.h mcp/talk.c
mcp_mcp_SOURCES = mcp/main.c $(mcp_parts)
mcp_mcp_LDADD = libsm.a $(LIBS)

if HAVE_CMOCKA
check_PROGRAMS += mcp/t_brake mcp/t_env mcp/t_order mcp/t_conf
unit_tests += mcp/t_brake mcp/t_env mcp/t_order mcp/t_conf
endif
mcp_t_brake_SOURCES = mcp/t_brake.c mcp/brake.c
mcp_t_brake_LDADD = $(UNIT_LDADD)
mcp_t_env_SOURCES = mcp/t_env.c mcp/env.c
mcp_t_env_LDADD = $(UNIT_LDADD)
mcp_t_order_SOURCES = mcp/t_order.c mcp/order.c
mcp_t_order_LDADD = $(UNIT_LDADD)
mcp_t_conf_SOURCES = mcp/t_conf.c mcp/conf.c
mcp_t_conf_LDADD = $(UNIT_LDADD)
