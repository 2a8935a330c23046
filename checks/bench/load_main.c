/*
 * load: an SMTP load generator whose ledger can be checked. This file: options and figures. The
 * ledger's lines are told in load.c. One thread.
 */
#include "config.h"
#include "checks/bench/load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: load [options] ADDRESS:PORT|unix:PATH\n"
    "  -s N     sessions at a time (10)          -m N    messages (100)\n"
    "  -l N     bytes of a message (5120)        -r N    recipients of a message (1)\n"
    "  -d       keep connections                 -p      pipelining\n"
    "  -e       every other session keeps its connection\n"
    "  -f PAT   sender                           -t PAT  recipient: %n number of the message, %r "
    "of the recipient,\n"
    "  -D N     ... %d: number modulo N (100)            %d a small number\n"
    "  -L FILE  ledger (append)                  -b SEED each message has another body, some lines "
    "begin with dots\n"
    "  -u RUN   first part of the ids            -k      go on until -m messages are acknowledged\n"
    "  -T SECS  end after (300)                  -R SECS wait for a reply (60)\n"
    "  -w MS    pause of a session between messages\n"
    "  -i SECS  no mail: open -s sessions, greet, hold them\n"
    "  -A N     come from N addresses, 127.0.1.1 and on\n"
    "  -n N     number of the first message (0)\n"
    "  -S       STARTTLS                         -z      ... and resume sessions\n"
    "  -a USER:PASSWORD  AUTH PLAIN on each connection, in TLS if there is any\n"
    "Ends early, with its ledger complete, on TERM and INT.\n"
    "Exit: 0 all sent, 3 the time was up or it was stopped, 1 failure, 2 usage.\n";

static void on_signal(int sig)
{
	(void)sig;
	load_stop();
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(const struct load_figures *f, double p)
{
	size_t n = (size_t)f->acked < f->latency_max ? (size_t)f->acked : f->latency_max;

	return n ? f->latency[(size_t)((double)(n - 1) * p)] * 1e3 : 0;
}

static void print(struct load_figures *f, double seconds)
{
	size_t n = (size_t)f->acked < f->latency_max ? (size_t)f->acked : f->latency_max;
	double user, sys;

	cpu_used(&user, &sys);
	qsort(f->latency, n, sizeof *f->latency, by_value);
	printf("begun %ld acked %ld nak4 %ld nak5 %ld unknown %ld refused %ld rcpts %ld seconds "
	       "%.3f rate %.1f "
	       "p50_ms %.2f p90_ms %.2f p99_ms %.2f max_ms %.2f connects %ld connect_errors %ld "
	       "drops %ld "
	       "handshakes %ld resumed %ld logins %ld cpu_user %.2f cpu_sys %.2f\n",
	       load_begun(), f->acked, f->nak4, f->nak5, f->unknown, f->refused, f->rcpts_acked,
	       seconds, (double)f->acked / seconds, percentile(f, 0.5), percentile(f, 0.9),
	       percentile(f, 0.99), percentile(f, 1), f->connects, f->connect_errors, f->drops,
	       f->handshakes, f->resumed, f->logins, user, sys);
}

int main(int argc, char **argv)
{
	struct load_options o = {.sessions = 10,
	                         .messages = 100,
	                         .size = 5120,
	                         .rcpts = 1,
	                         .sender = "sender@source.test",
	                         .domains = 100,
	                         .reply_timeout = 60,
	                         .total_timeout = 300,
	                         .ledger = -1};
	struct load_figures f = {0};
	char run[32];
	double start;
	bool in_time;
	int c;

	snprintf(run, sizeof run, "%lx.%x", (unsigned long)time(NULL), (unsigned)getpid());
	o.run = run;
	while ((c = getopt(argc, argv, "s:m:l:r:depf:t:D:L:b:u:kT:R:w:i:A:Sza:n:")) != -1) {
		switch (c) {
		case 's':
			o.sessions = (int)number(optarg, 1, 100000);
			break;
		case 'm':
			o.messages = number(optarg, 1, 1000000000);
			break;
		case 'l':
			o.size = (size_t)number(optarg, 1, 1 << 30);
			break;
		case 'r':
			o.rcpts = (int)number(optarg, 1, LOAD_RCPTS_MAX);
			break;
		case 'd':
			o.keep_connection = true;
			break;
		case 'e':
			o.keep_every_other = true;
			break;
		case 'p':
			o.pipelining = true;
			break;
		case 'f':
			o.sender = optarg;
			break;
		case 't':
			o.rcpt = optarg;
			break;
		case 'D':
			o.domains = (int)number(optarg, 1, 1000000000);
			break;
		case 'L':
			o.ledger = ledger_open(optarg);
			break;
		case 'b':
			o.varied = true;
			o.seed = (uint64_t)number(optarg, 0, 1L << 62);
			break;
		case 'u':
			o.run = optarg;
			if (strlen(o.run) > 64 || strcspn(o.run, " ,\t\r\n-") != strlen(o.run))
				die_text("-u: at most 64 characters, no blanks, ',' or '-'");
			break;
		case 'k':
			o.keep_going = true;
			break;
		case 'T':
			o.total_timeout = (double)number(optarg, 1, 1000000);
			break;
		case 'R':
			o.reply_timeout = (double)number(optarg, 1, 1000000);
			break;
		case 'w':
			o.pause_ms = (int)number(optarg, 0, 1000000);
			break;
		case 'i':
			o.idle_seconds = (int)number(optarg, 1, 1000000);
			break;
		case 'A':
			o.sources = (int)number(optarg, 1, LOAD_SOURCES_MAX);
			break;
		case 'n':
			o.first = number(optarg, 0, 1000000000);
			break;
		case 'S':
			o.starttls = true;
			break;
		case 'z':
			o.starttls = o.resume = true;
			break;
		case 'a':
			o.login = optarg;
			break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return 2;
	}
	address_parse(argv[optind], &o.target);
	if (!o.rcpt)
		o.rcpt = o.rcpts > 1 ? "rcpt%r@dest.test" : "rcpt@dest.test";
	if ((o.sender && strlen(o.sender) > 100) || strlen(o.rcpt) > 100)
		die_text("patterns of addresses: at most 100 characters");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	raise_nofile();
	f.latency_max = (size_t)(o.messages < 1000000 ? o.messages + o.sessions : 1000000);
	f.latency = calloc(f.latency_max, sizeof *f.latency);
	if (!f.latency)
		die("memory");
	start = now();
	in_time = load_run(&o, &f);
	print(&f, now() - start);
	free(f.latency);
	return in_time ? 0 : 3;
}
